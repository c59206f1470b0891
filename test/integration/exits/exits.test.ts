/** Generation 3, as the clients of today play it (docs/protocol.md#8-generation-3), on a real chain, database and queue. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ExitsResponse, ValidatorsResponse } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { MadeCluster } from '../../support/keys/make-cluster.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import {
  assertOraclesCanExit,
  getExits,
  partialExit,
  postShares,
  postValidators,
  sidecarRound,
  untilShares,
} from '../../support/world/nodes.ts'
import type { World } from '../../support/world/world.ts'
import { ask, eventually, hex, startWorld } from '../../support/world/world.ts'

let world: World
let cluster: MadeCluster
let relayer: Awaited<ReturnType<World['startRelayer']>>
let url: string
let dir: string
/** Keys are taken in turn, so that tests do not meet. */
let taken = 0
const take = (count: number): { validators: MadeCluster['validators']; keys: string[] } => {
  const validators = cluster.validators.slice(taken, taken + count)
  taken += count
  return { validators, keys: validators.map(({ publicKey }) => hex(publicKey)) }
}
const exitOf = async (key: string) => (await getExits(url)).find((exit) => exit.public_key === key)
const rounds = async (validators: MadeCluster['validators'], shareIndexes: number[]) => {
  for (const index of shareIndexes) expect((await sidecarRound(url, world.network, validators, index)).status).toBe(200)
}

beforeAll(async () => {
  world = await startWorld()
  dir = await mkdtemp(join(tmpdir(), 'dvt-exits-'))
  cluster = await makeCluster({
    dir,
    nodes: 4,
    threshold: 3,
    validators: 60,
    network: world.network,
    withdrawalAddress: new Uint8Array(20).fill(0x8a),
    feeRecipient: new Uint8Array(20).fill(1),
  })
  relayer = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
  url = relayer.url
})
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
  await rm(dir, { recursive: true, force: true })
})

describe('the main job', () => {
  it('goes from public keys to shares that only the oracles can use', async () => {
    const { validators, keys } = take(2)
    const first = await postValidators(url, keys)
    expect(first.status).toBe(200)
    expect(first.json).toEqual({
      ready: false,
      validators: keys.map((public_key) => ({ public_key, oracles_exit_signature_shares: null, receipt: null })),
    })
    await rounds(validators, [1, 2, 4])
    const done = await untilShares(url, keys)
    expect(done.ready).toBe(true)
    expect(Compile(ValidatorsResponse).Check(done)).toBe(true)
    const exits = await getExits(url)
    for (const [position, item] of done.validators.entries()) {
      const exit = exits.find(({ public_key }) => public_key === keys[position])
      expect(exit).toMatchObject({
        validator_index: 100 + position,
        is_exit_signature_ready: true,
        share_indexes_ready: [1, 2, 4],
      })
      await assertOraclesCanExit(
        world.network,
        world.oracles,
        7,
        fromHex(keys[position] ?? ''),
        100 + position,
        item.oracles_exit_signature_shares,
      )
    }
  })

  it('never changes shares that were handed out', async () => {
    const { validators, keys } = take(1)
    await postValidators(url, keys)
    await rounds(validators, [1, 2, 3])
    const before = await untilShares(url, keys)
    const index = (await exitOf(keys[0] ?? ''))?.validator_index ?? 0
    const late = await postShares(url, 4, [
      { public_key: keys[0] ?? '', exit_signature: partialExit(world.network, validators[0] ?? fail(), 4, index) },
    ])
    expect(late).toMatchObject({ status: 200, json: {} })
    await eventually('the fourth index', async () =>
      (await exitOf(keys[0] ?? ''))?.share_indexes_ready.length === 4 ? true : undefined,
    )
    expect((await postValidators(url, keys)).json).toEqual(before)
  })
})

describe('what Operator 3.1.10 needs', () => {
  it('finds each key in the spelling it sent, and no other keys', async () => {
    const { keys } = take(4)
    const [a = '', b = '', c = '', d = ''] = keys
    const spellings = [a.toUpperCase().replace('0X', '0x'), b.slice(2), c.slice(2).toUpperCase(), d.replace('0x', '0X')]
    const answer = await postValidators(url, spellings)
    expect((answer.json as ValidatorsResponse).validators.map(({ public_key }) => public_key)).toEqual(spellings)
    // Another spelling of the same keys is the same request.
    const again = await postValidators(url, keys)
    expect(again.status).toBe(200)
    expect((await getExits(url)).filter(({ public_key }) => keys.includes(public_key))).toHaveLength(4)
  })

  it('gets the key of the shares in every item, null while they are not there', async () => {
    const { keys } = take(1)
    const item = ((await postValidators(url, keys)).json as ValidatorsResponse).validators[0]
    expect(item).toHaveProperty('oracles_exit_signature_shares', null)
  })

  it('may send fields nobody knows', async () => {
    const { keys } = take(1)
    const answer = await ask(url, '/validators', {
      body: { public_keys: keys, something: 'else', __proto__: { x: 1 } },
    })
    expect(answer.status).toBe(200)
  })
})

describe('what sidecars 1 and 2.1 need', () => {
  it('a list that is always whole and well formed', async () => {
    take(1)
    const answer = await ask(url, '/exits')
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
    expect(Compile(ExitsResponse).Check(answer.json)).toBe(true)
    for (const exit of (answer.json as ExitsResponse).exits) {
      expect(exit.public_key).toMatch(/^0x[0-9a-f]{96}$/)
      expect(exit.created_at_string).toBe(
        `${new Date(exit.created_at_timestamp * 1000).toISOString().slice(0, 19).replace('T', ' ')}+0000`,
      )
    }
  })

  it('a post of everything again on every poll costs nothing and changes nothing', async () => {
    const { validators, keys } = take(3)
    await postValidators(url, keys)
    await rounds(validators, [1, 1, 2, 2])
    for (const key of keys)
      expect(await exitOf(key)).toMatchObject({ share_indexes_ready: [1, 2], is_exit_signature_ready: false })
  })

  it('unknown public keys are skipped, all unknown too', async () => {
    const { validators, keys } = take(2)
    await postValidators(url, keys.slice(0, 1))
    const index = (await exitOf(keys[0] ?? ''))?.validator_index ?? 0
    const share = (position: number) => ({
      public_key: keys[position] ?? '',
      exit_signature: partialExit(world.network, validators[position] ?? fail(), 1, index),
    })
    expect(await postShares(url, 1, [share(1)])).toMatchObject({ status: 200, json: {} })
    expect(await postShares(url, 1, [share(1), share(0)])).toMatchObject({ status: 200, json: {} })
    expect((await exitOf(keys[0] ?? ''))?.share_indexes_ready).toEqual([1])
    expect(await postShares(url, 1, [])).toMatchObject({ status: 200, json: {} })
  })

  it('ready exits stay listed with all their indexes', async () => {
    const { validators, keys } = take(1)
    await postValidators(url, keys)
    await rounds(validators, [1, 2, 3])
    await untilShares(url, keys)
    expect(await exitOf(keys[0] ?? '')).toMatchObject({ is_exit_signature_ready: true, share_indexes_ready: [1, 2, 3] })
  })

  it('answers of old status: a trailing slash is a 307, another method a 405, another path a 404', async () => {
    expect(await ask(url, '/exits/?a=1')).toMatchObject({ status: 307 })
    expect((await ask(url, '/exits/?a=1')).headers.get('location')).toBe('/exits?a=1')
    expect(await ask(url, '/exits', { method: 'DELETE' })).toMatchObject({
      status: 405,
      json: { code: 'METHOD_NOT_ALLOWED' },
    })
    expect(await ask(url, '/nowhere')).toMatchObject({ status: 404, json: { code: 'NOT_FOUND' } })
  })
})

describe('wrong partial signatures', () => {
  it('are named, never count, and are replaced by the right one', async () => {
    const { validators, keys } = take(2)
    await postValidators(url, keys)
    const [key = '', other = ''] = keys
    const [validator, second] = validators
    const index = (await exitOf(key))?.validator_index ?? 0
    const right = (v: typeof validator, share: number, i: number) => partialExit(world.network, v ?? fail(), share, i)
    const wrongs = [right(validator, 2, index), right(validator, 1, index + 7), right(second, 1, index)]
    for (const exit_signature of wrongs) {
      const answer = await postShares(url, 1, [{ public_key: key, exit_signature }])
      expect(answer).toMatchObject({
        status: 422,
        json: { code: 'SHARES_WRONG', failures: [{ index: 0, code: 'SIGNATURE_WRONG' }] },
      })
      // The same bytes again get the same answer.
      expect((await postShares(url, 1, [{ public_key: key, exit_signature }])).status).toBe(422)
    }
    expect(await exitOf(key)).toMatchObject({ share_indexes_ready: [], share_indexes_rejected: [1] })
    const mixed = await postShares(url, 1, [
      { public_key: key, exit_signature: right(validator, 1, index) },
      { public_key: other, exit_signature: right(validator, 1, index) },
    ])
    expect(mixed).toMatchObject({ status: 200, json: { failures: [{ index: 1, code: 'SIGNATURE_WRONG' }] } })
    expect(await exitOf(key)).toMatchObject({ share_indexes_ready: [1], share_indexes_rejected: [] })
    expect((await postShares(url, 1, [{ public_key: key, exit_signature: wrongs[0] ?? '' }])).status).toBe(422)
    expect(await exitOf(key)).toMatchObject({ share_indexes_ready: [1] })
  })

  it('of a share index the cluster does not have are refused', async () => {
    const { validators, keys } = take(1)
    await postValidators(url, keys)
    const exit_signature = partialExit(world.network, validators[0] ?? fail(), 1, 0)
    for (const shareIndex of [5, 9_007_199_254_740_991])
      expect(await postShares(url, shareIndex, [{ public_key: keys[0] ?? '', exit_signature }])).toMatchObject({
        status: 422,
        json: { failures: [{ code: 'SHARE_INDEX_UNKNOWN' }] },
      })
  })

  it.each([
    ['not hex', 'zz'],
    ['too short', `0x${'00'.repeat(95)}`],
    ['too long', `0x${'00'.repeat(97)}`],
    ['infinity', `0xc0${'00'.repeat(95)}`],
    ['off the curve', `0x80${'00'.repeat(94)}05`],
    ['uncompressed', `0x${'0a'.repeat(192)}`],
  ])('that are %s are refused', async (_, exit_signature) => {
    const { keys } = take(1)
    await postValidators(url, keys)
    const answer = await postShares(url, 1, [{ public_key: keys[0] ?? '', exit_signature }])
    expect(answer.status).toBe(422)
    expect((await exitOf(keys[0] ?? ''))?.share_indexes_ready).toEqual([])
  })
})

describe('messages', () => {
  it('a repeated request is a poll; the next free index moving on voids the exit', async () => {
    const { validators, keys } = take(2)
    await postValidators(url, keys)
    const before = await Promise.all(keys.map(exitOf))
    await postValidators(url, keys)
    expect(await Promise.all(keys.map(exitOf))).toEqual(before)
    await rounds(validators, [1])
    world.beacon.addValidators(new Uint8Array(48).fill(0xab).with(0, taken))
    await postValidators(url, keys)
    const after = await Promise.all(keys.map(exitOf))
    after.forEach((exit, position) => {
      expect(exit).toMatchObject({
        validator_index: (before[position]?.validator_index ?? 0) + 1,
        share_indexes_ready: [],
      })
    })
  })

  it('indexes are consecutive in the order of the request, also under concurrent requests of the same keys', async () => {
    const { keys } = take(6)
    const answers = await Promise.all(
      [keys, [...keys].reverse(), keys.slice(2), keys].map((list) => postValidators(url, list)),
    )
    for (const answer of answers) expect([200, 409]).toContain(answer.status)
    const final = await postValidators(url, keys)
    expect(final.status).toBe(200)
    const exits = (await getExits(url)).filter(({ public_key }) => keys.includes(public_key))
    expect(exits).toHaveLength(6)
    const start = world.beacon.validatorCount
    expect(keys.map((key) => exits.find(({ public_key }) => public_key === key)?.validator_index)).toEqual(
      keys.map((_, position) => start + position),
    )
  })

  it('a key the beacon chain knows is an error for that request, with its place', async () => {
    const { validators, keys } = take(2)
    world.beacon.addValidators(validators[1]?.publicKey ?? fail())
    const answer = await postValidators(url, keys)
    expect(answer).toMatchObject({
      status: 422,
      json: { code: 'VALIDATOR_KNOWN', failures: [{ index: 1, code: 'VALIDATOR_KNOWN' }] },
    })
    expect(await exitOf(keys[0] ?? '')).toBeUndefined()
    expect((await postValidators(url, keys.slice(0, 1))).status).toBe(200)
  })
})

describe('long polling', () => {
  it('tells of a new exit at once, and of changes only', async () => {
    const revision = ((await ask(url, '/exits')).json as ExitsResponse).revision ?? 0
    const { keys } = take(1)
    const waiting = ask(url, `/exits?wait=20&after=${revision}`)
    await postValidators(url, keys)
    const answer = (await waiting).json as ExitsResponse
    expect(answer.exits.map(({ public_key }) => public_key)).toEqual(keys)
    expect(answer.revision).toBeGreaterThan(revision)
  })

  it('answers an empty list when nothing changes in time', async () => {
    const revision = ((await ask(url, '/exits')).json as ExitsResponse).revision ?? 0
    expect((await ask(url, `/exits?wait=1&after=${revision}`)).json).toEqual({ exits: [], revision })
  })

  it.each(['wait=61', 'wait=-1', 'wait=x', 'after=-1', 'after=1.5', 'wait=1&wait=2', 'after=99999999999999999'])(
    'refuses ?%s',
    async (query) => {
      expect(await ask(url, `/exits?${query}`)).toMatchObject({ status: 422, json: { code: 'QUERY_INVALID' } })
    },
  )
})

/** For places that the types cannot know to be there. */
function fail(): never {
  throw new Error('not there')
}
