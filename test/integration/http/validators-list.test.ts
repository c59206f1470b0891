/** `GET /validators` and `GET /exits` side by side: what stands in which, and who is told of what, in one process or in several. */

import type { ExitsResponse, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import { ValidatorListResponse as ValidatorListSchema } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { deleteSuperseded } from '@dvt-relayer/db/queries/messages/messages.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { releaseKey } from '../../../apps/relayer/src/services/registrations/release.ts'
import { createSidecarLists } from '../../../apps/relayer/src/services/signatures/sidecar-lists.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { nextIndex } from '../../support/operator/operator.ts'
import { clusterFor, ETH32, keysOf, openStage, registerKeys, signAll } from '../../support/stages/registrations.ts'
import {
  getExits,
  getValidators,
  postPairs,
  postValidators,
  sidecarRound,
  signedPair,
} from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const asks = (byte: number, count: number, later = 0) => ({
  vault: `0x${byte.toString(16).padStart(2, '0').repeat(20)}`,
  startIndex: nextIndex(world.beacon) + later,
  amounts: Array<number>(count).fill(ETH32),
  type: '0x01' as '0x01' | '0x02',
})
async function setUp(validators: number) {
  const cluster = await clusterFor(world, undefined, { validators })
  const stage = await openStage(world)
  const start = () => stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
  const relayer = await start()
  return { cluster, stage, start, keys: keysOf(cluster.validators), url: relayer.url }
}
const validatorsOf = async (url: string, query = '') =>
  (await ask(url, `/validators${query}`)).json as Required<ValidatorListResponse>
const exitsOf = async (url: string, query = '') => (await ask(url, `/exits${query}`)).json as Required<ExitsResponse>
const keysIn = ({ validators }: ValidatorListResponse) => validators.map(({ public_key }) => public_key)

describe.skipIf(skipWithoutAnvil)('the lists', () => {
  it('show every exit, and as validators those that have a deposit too', async () => {
    const { url, keys, cluster } = await setUp(4)
    expect((await ask(url, '/validators')).text).toMatch(/^\{"validators":\[\],"revision":\d+\}$/)
    expect((await postValidators(url, keys.slice(2, 3))).status).toBe(200)
    expect(await registerKeys(url, asks(0x11, 2))).toEqual(keys.slice(0, 2))
    expect((await getExits(url)).map(({ public_key }) => public_key).toSorted()).toEqual(keys.slice(0, 3).toSorted())
    const list = await validatorsOf(url)
    expect(keysIn(list)).toEqual(keys.slice(0, 2))
    expect(Compile(ValidatorListSchema).Check(list)).toBe(true)
    await signAll(world, url, cluster.validators, [1, 2, 3])
    for (const item of await getValidators(url))
      expect(item.created_at_string).toBe(
        `${new Date(item.created_at_timestamp * 1000).toISOString().slice(0, 19).replace('T', ' ')}+0000`,
      )
  })

  it('count a share index as ready when both its signatures are in', async () => {
    const { url, cluster } = await setUp(1)
    await registerKeys(url, asks(0x12, 1))
    const [validator] = cluster.validators
    const [item] = await getValidators(url)
    if (validator === undefined || item === undefined) throw new Error('not there')
    await sidecarRound(url, world.network, [validator], 2)
    expect((await getExits(url))[0]?.share_indexes_ready).toEqual([2])
    expect(await getValidators(url)).toMatchObject([{ share_indexes_ready: [], share_indexes_rejected: [] }])
    const pair = signedPair(world.network, validator, 2, item)
    await postPairs(url, 2, [{ ...pair, deposit_signature: pair.exit_signature }])
    expect(await getValidators(url)).toMatchObject([{ share_indexes_ready: [], share_indexes_rejected: [2] }])
    await postPairs(url, 2, [pair])
    expect(await getValidators(url)).toMatchObject([{ share_indexes_ready: [2], share_indexes_rejected: [] }])
  })
})

describe.skipIf(skipWithoutAnvil)('who waits for validators', () => {
  it('is told at once, and of what changed only', async () => {
    const { url, keys, cluster } = await setUp(2)
    await registerKeys(url, asks(0x21, 1))
    const { revision } = await validatorsOf(url)
    const waiting = validatorsOf(url, `?wait=30&after=${revision}`)
    await registerKeys(url, asks(0x22, 1))
    const told = await waiting
    expect(keysIn(told)).toEqual([keys[1]])
    expect(told.revision).toBeGreaterThan(revision)
    const next = validatorsOf(url, `?wait=30&after=${told.revision}`)
    await signAll(world, url, cluster.validators.slice(0, 1), [3])
    let last = await next
    expect(keysIn(last)).toEqual([keys[0]])
    // It may be told of it in two steps: come, and verified.
    while (!last.validators.some((item) => item.share_indexes_ready.includes(3)))
      last = await validatorsOf(url, `?wait=30&after=${last.revision}`)
    expect(keysIn(last)).toEqual([keys[0]])
  })

  it('is not woken by what is an exit only', async () => {
    const { url, keys, cluster } = await setUp(2)
    const { revision } = await validatorsOf(url)
    let isAnswered = false
    const waiting = validatorsOf(url, `?wait=30&after=${revision}`).finally(() => {
      isAnswered = true
    })
    const exits = await exitsOf(url)
    const told = exitsOf(url, `?wait=30&after=${exits.revision}`)
    await postValidators(url, keys.slice(1))
    const { revision: seen } = await told
    const toldAgain = exitsOf(url, `?wait=30&after=${seen}`)
    await sidecarRound(url, world.network, cluster.validators, 1)
    await toldAgain
    expect(isAnswered).toBe(false)
    await registerKeys(url, asks(0x23, 1))
    expect(keysIn(await waiting)).toEqual([keys[0]])
  })

  it('misses nothing when the process is another: a new exit counts as much as a new deposit', async () => {
    const { url, keys, start } = await setUp(2)
    await registerKeys(url, asks(0x24, 1))
    await registerKeys(url, asks(0x25, 1))
    const { revision } = await validatorsOf(url)
    // The first validator's exit changes, then the second's deposit.
    await registerKeys(url, asks(0x24, 1, 5))
    await registerKeys(url, { ...asks(0x25, 1), type: '0x02' })
    const other = await start()
    const told = await validatorsOf(other.url, `?wait=30&after=${revision}`)
    expect(keysIn(told).toSorted()).toEqual(keys.toSorted())
    expect(told.revision).toBe((await validatorsOf(url)).revision)
  })

  it('waits at every process, whichever it was told by and whatever went last', async () => {
    const { url, keys, stage, start } = await setUp(2)
    await registerKeys(url, asks(0x26, 1))
    const { revision: first } = await validatorsOf(url)
    const { revision: firstExit } = await exitsOf(url)
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    await releaseKey(db, fromHex(keys[0] ?? '', 48))
    const gone = await validatorsOf(url, `?wait=30&after=${first}`)
    const exitGone = await exitsOf(url, `?wait=30&after=${firstExit}`)
    expect([gone.validators, exitGone.exits]).toEqual([[], []])
    // What has ended is deleted in time, but not what tells a new process how far the others are.
    await stage.age(172_800)
    await deleteSuperseded(db, 86_400, 500)
    const other = await start()
    const waiting = [
      validatorsOf(other.url, `?wait=30&after=${gone.revision}`),
      validatorsOf(url, `?wait=30&after=${(await validatorsOf(other.url)).revision}`),
    ]
    const waitingForExits = exitsOf(other.url, `?wait=30&after=${exitGone.revision}`)
    await registerKeys(url, asks(0x27, 2))
    for (const told of await Promise.all(waiting)) expect(keysIn(told)).toEqual(keys)
    expect((await waitingForExits).exits.map(({ public_key }) => public_key)).toEqual(keys)
  })
})

describe.skipIf(skipWithoutAnvil)('who asks for pages', () => {
  /** The pages of a question, one after the other. */
  async function pagesOf(url: string, question: string) {
    const pages = [await validatorsOf(url, question)]
    for (let last = pages[0]; last?.next !== undefined; ) {
      last = await validatorsOf(url, `${question}&from=${last.next}`)
      pages.push(last)
    }
    return pages
  }

  it('is given the whole list in them, then what changed, and what is gone', async () => {
    const { url, keys, stage, start } = await setUp(5)
    await registerKeys(url, asks(0x41, 3))
    // In which order it has them is its own business.
    const sorted = (pages: readonly ValidatorListResponse[]) => pages.flatMap(keysIn).toSorted()
    const whole = await pagesOf(url, '?limit=2')
    expect(whole.map(({ validators }) => validators.length)).toEqual([2, 1])
    expect(sorted(whole)).toEqual(keys.slice(0, 3).toSorted())
    for (const page of whole) expect([Compile(ValidatorListSchema).Check(page), page.whole]).toEqual([true, true])
    const { revision } = await validatorsOf(url)
    expect(await validatorsOf(url, `?after=${revision}&limit=2`)).toEqual({ validators: [], revision, whole: false })

    const waiting = validatorsOf(url, `?wait=30&after=${revision}&limit=10`)
    await registerKeys(url, asks(0x42, 2))
    expect(await waiting).toMatchObject({ whole: false })
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    await releaseKey(db, fromHex(keys[0] ?? '', 48))
    const told = await validatorsOf(url, `?wait=30&after=${(await waiting).revision}&limit=10`)
    expect([keysIn(told), told.gone, told.whole]).toEqual([[], [keys[0]], false])
    const changes = await pagesOf(url, `?after=${revision}&limit=1`)
    expect(changes).toHaveLength(2)
    expect(sorted(changes)).toEqual(keys.slice(3).toSorted())
    expect(changes.map(({ gone }) => gone)).toEqual([[keys[0]], undefined])
    // Another process does not know what went before it read the list, nor anybody what comes.
    const other = await start()
    for (const after of [revision, told.revision + 1000]) {
      const pages = await pagesOf(other.url, `?after=${after}&limit=1000`)
      expect(pages.map((page) => [page.whole, page.gone])).toEqual([[true, undefined]])
      expect(sorted(pages)).toEqual(keys.slice(1).toSorted())
    }
    const exits = await exitsOf(other.url, '?limit=1')
    expect(exits).toMatchObject({ exits: [{}], whole: true, next: expect.any(Number) })
    // Without a limit it is as ever.
    expect(Object.keys(await validatorsOf(url, `?after=${revision}`))).toEqual(['validators', 'revision'])
    for (const wrong of ['limit=0', 'limit=10001', 'limit=1&from=-1', 'limit='])
      expect((await ask(url, `/validators?${wrong}`)).status).toBe(422)
  })
})

describe.skipIf(skipWithoutAnvil)('what has ended', () => {
  it('is deleted a day after its end, however long ago it was asked for', async () => {
    const { url, stage } = await setUp(1)
    await registerKeys(url, asks(0x31, 1))
    await stage.age(172_800)
    await registerKeys(url, asks(0x31, 1, 1))
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    const states = async () =>
      (await stage.query<{ state: string }>('select state from messages')).map(({ state }) => state)
    await deleteSuperseded(db, 86_400, 500)
    expect((await states()).toSorted()).toEqual(['collecting', 'collecting', 'superseded'])
    await stage.age(172_800)
    await deleteSuperseded(db, 86_400, 500)
    expect(await states()).not.toContain('superseded')
  })

  it('leaves a list nobody has asked for since, though nothing tells of it any more', async () => {
    const { url, keys, stage } = await setUp(1)
    await registerKeys(url, asks(0x32, 1))
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    const lists = createSidecarLists({ db })
    expect((await lists.exits.read(undefined)).toString()).toContain(keys[0])
    await stage.query('delete from messages')
    const now = performance.now()
    using _clock = vi.spyOn(performance, 'now').mockImplementation(() => now + 7_200_000)
    expect((await lists.exits.read(undefined)).toString()).toBe('{"exits":[],"revision":0}')
  })
})
