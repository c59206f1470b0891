/**
 * Who may ask for a key: its owner alone, where a lock, the list or a deposit names one; else whoever the tokens say, never who came first.
 * Several vaults at one relayer, in both generations.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { nextIndex } from '../../support/operator/operator.ts'
import { clusterFor, ETH32, keysOf, openStage, registerKeys } from '../../support/stages/registrations.ts'
import { WAITS_FOR_ROW } from '../../support/stores/waiting.ts'
import { getExits, postValidators } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'

let world: VaultWorld
let files = 0
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const [A, B] = [`0x${'aa'.repeat(20)}`, `0x${'bb'.repeat(20)}`] as const
const asks = (vault: string, count: number, later = 0) => ({
  vault,
  startIndex: nextIndex(world.beacon) + later,
  amounts: Array<number>(count).fill(ETH32),
  type: '0x01' as const,
})
const refused = (count: number) => ({
  status: 403,
  json: {
    code: 'TOKEN_BINDING',
    failures: Array.from({ length: count }, (_, index) => ({ index, code: 'TOKEN_BINDING' })),
  },
})

async function write(name: string, lines: readonly string[]): Promise<string> {
  const file = join(world.dir, `${name}-${++files}`)
  await writeFile(file, lines.join('\n'))
  return file
}

type Made = ReturnType<typeof createToken>
const bearer = ({ token }: Made) => ({ authorization: `Bearer ${token}` })

/**
 * Relayers on one database with a list of keys, each with a vault or without, and tokens: one for `a`, one for `b`, one for any vault, unless
 * others are given.
 */
async function setUp(
  vaults: readonly (string | undefined)[],
  bindings: Readonly<Record<string, string>> = { a: A, b: B, any: '*' },
) {
  const keys = keysOf(createTestKeys(vaults.length, { nodes: 4, threshold: 3 }))
  const tokens = new Map(
    Object.entries(bindings).map(([name, binding]) => [name, createToken(name, 'operator', binding)]),
  )
  const nodes = createToken('nodes', 'sidecar', '*')
  const stage = await openStage(world)
  const listOf = (of: readonly (string | undefined)[]) =>
    write(
      'list',
      keys.map((key, i) => (of[i] === undefined ? key : `${key} ${of[i]}`)),
    )
  const start = async (more: Record<string, string> = {}, made: readonly Made[] = [...tokens.values()]) =>
    stage.startRelayer({
      PUBLIC_KEYS_FILE: await listOf(vaults),
      SIGNATURE_THRESHOLD: '3',
      AUTH_TOKENS_FILE: await write(
        'tokens',
        [...made, nodes].map(({ line }) => line),
      ),
      ...more,
    })
  const as = (name: string) => {
    const made = tokens.get(name)
    if (made === undefined) throw new Error(`no token ${name}`)
    return bearer(made)
  }
  const indexesOf = async (url: string) =>
    new Map((await getExits(url, bearer(nodes))).map((exit) => [exit.public_key, exit.validator_index]))
  return { keys, tokens, stage, start, listOf, as, indexesOf }
}

describe.skipIf(skipWithoutAnvil)('a key with an owner', () => {
  it('by the list is its owner’s to ask for, and no other vault’s, also while that goes on asking', async () => {
    const { keys, start, as, indexesOf } = await setUp([A, A, B])
    const { url } = await start()
    const [first, second, theirs] = keys as [string, string, string]
    for (let times = 0; times < 3; times++) {
      expect(await postValidators(url, [second, first], as('b'))).toMatchObject(refused(2))
      expect((await postValidators(url, [first, second], as('a'))).status).toBe(200)
    }
    const start0 = nextIndex(world.beacon)
    expect(await indexesOf(url)).toEqual(
      new Map([
        [first, start0],
        [second, start0 + 1],
      ]),
    )
    expect((await postValidators(url, [theirs], as('b'))).status).toBe(200)
    // One of its own beside one of another is refused for the other's only, and nothing is made.
    expect(await postValidators(url, [theirs, first], as('b'))).toMatchObject({
      status: 403,
      json: { failures: [{ index: 1, code: 'TOKEN_BINDING' }] },
    })
  })

  it.each([
    ['with exits', true],
    ['nobody has asked for', false],
  ])('%s is refused to others before any node is asked', async (_, hasExits) => {
    const { keys, start, as } = await setUp([A])
    const { url } = await start()
    if (hasExits) expect((await postValidators(url, keys, as('a'))).status).toBe(200)
    world.beacon.fail({ status: 503 })
    onTestFinished(() => world.beacon.fail(undefined))
    expect(await postValidators(url, keys, as('b'))).toMatchObject(refused(1))
  })

  it('by a lock is its owner’s, whoever the tokens let ask for others', async () => {
    const cluster = await clusterFor(world, { address: A }, { validators: 1 })
    const { start, as } = await setUp([undefined], { b: B })
    const { url } = await start({ CLUSTER_LOCK_FILES: cluster.lockFile })
    expect(await postValidators(url, keysOf(cluster.validators), as('b'))).toMatchObject(refused(1))
  })

  it('is refused as one of no cluster is, where keys of none have no threshold', async () => {
    const cluster = await clusterFor(world, { address: A }, { validators: 1 })
    const { stage, tokens, as, keys } = await setUp([undefined])
    const { url } = await stage.startRelayer({
      CLUSTER_LOCK_FILES: cluster.lockFile,
      AUTH_TOKENS_FILE: await write(
        'tokens',
        [...tokens.values()].map(({ line }) => line),
      ),
    })
    // No point of the group: what is refused anyway is not parsed.
    const noPoint = [`0x${'11'.repeat(48)}`]
    for (const wanted of [keysOf(cluster.validators), keys, noPoint])
      expect(await postValidators(url, wanted, as('b'))).toMatchObject(refused(1))
    for (const wanted of [keys, noPoint])
      expect(await postValidators(url, wanted, as('any'))).toMatchObject({ json: { code: 'THRESHOLD_UNKNOWN' } })
  })

  it('by a deposit is its owner’s, whatever the list says later', async () => {
    const { keys, stage, start, listOf, as } = await setUp([undefined])
    const [vaultOfA] = [Buffer.from(fromHex(A, 20))]
    {
      await using relayer = await start()
      await stage.query('insert into deposit_bindings (validator_id, vault) select id, $1 from validators', [vaultOfA])
      expect(await postValidators(relayer.url, keys, as('b'))).toMatchObject(refused(1))
      expect((await postValidators(relayer.url, keys, as('a'))).status).toBe(200)
    }
    const { url } = await start({ PUBLIC_KEYS_FILE: await listOf([B]) })
    expect(await postValidators(url, keys, as('b'))).toMatchObject(refused(1))
    // Nobody is given what two say different things of.
    expect(await registerKeys(url, asks(B, 1), as('b'))).toEqual([])
    expect(await registerKeys(url, asks(A, 1), as('a'))).toEqual([])
  })

  it('is refused to others as one that nobody knows or has: whose it is is not told', async () => {
    const { keys, start, as } = await setUp([A, B, undefined])
    const [ofA = '', , unowned = ''] = keys
    const [unknown = ''] = keysOf(createTestKeys(1, { nodes: 1, threshold: 1 }))
    const { url } = await start()
    await postValidators(url, [ofA], as('a'))
    const answers = await Promise.all(
      [ofA, unowned, unknown].map(async (key) => {
        const { status, json } = await postValidators(url, [key], as('b'))
        return { status, ...(json as object), request_id: undefined }
      }),
    )
    expect(answers[0]).toMatchObject({ status: 403 })
    expect(answers[0]).toEqual(answers[1])
    expect(answers[0]).toEqual(answers[2])
    expect(JSON.stringify(answers).toLowerCase()).not.toContain(A.slice(2))
  })

  it('is handed out to its owner alone, also while others ask for its exit', async () => {
    const { keys, start, as } = await setUp([A, undefined, B])
    const [ofA, unowned, ofB] = keys as [string, string, string]
    const { url } = await start()
    // Who may act for any vault asks for all of them first.
    expect((await postValidators(url, keys, as('any'))).status).toBe(200)
    expect(await registerKeys(url, asks(B, 3, 5), as('b'))).toEqual([ofB])
    expect(await registerKeys(url, asks(A, 3, 9), as('a'))).toEqual([ofA])
    // It does not move what a vault asks for; the key of no vault is still its own to ask for.
    expect((await postValidators(url, [ofA], as('any'))).status).toBe(409)
    expect((await postValidators(url, [unowned], as('any'))).status).toBe(200)
  })

  it('of two vaults that ask at once for the same keys gets the one, at every try and in every process', async () => {
    const { keys, start, as, indexesOf, stage } = await setUp([A, A, A, A])
    const [one, two] = [await start(), await start()]
    const answers = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const name = i % 2 === 0 ? 'a' : 'b'
        const wanted = name === 'b' && i % 4 === 1 ? keys.toReversed() : keys
        return [name, (await postValidators(i % 3 === 0 ? one.url : two.url, wanted, as(name))).status] as const
      }),
    )
    expect(new Set(answers.filter(([name]) => name === 'a').map(([, status]) => status))).toEqual(new Set([200]))
    expect(new Set(answers.filter(([name]) => name === 'b').map(([, status]) => status))).toEqual(new Set([403]))
    expect([...(await indexesOf(one.url)).keys()].toSorted()).toEqual(keys.toSorted())
    expect(await stage.query('select distinct requester from messages')).toEqual([{ requester: `vault:${A}` }])
  })

  it('that it gets while a request waits for the key is its owner’s by then', async () => {
    const { keys, start, as, stage } = await setUp([undefined], { b: B })
    const { url } = await start()
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    let answered: ReturnType<typeof postValidators> | undefined
    await db.transaction(async (tx) => {
      await tx.execute(sql`select from validators for update`)
      answered = postValidators(url, keys, as('b'))
      await eventually('a request that waits for the key', async () => {
        const [row] = await stage.query<{ count: string }>(
          `select count(*) from pg_stat_activity where ${WAITS_FOR_ROW}`,
        )
        return row?.count === '1' ? true : undefined
      })
      await tx.execute(sql`update validators set listed_vault = ${Buffer.from(fromHex(A, 20))}`)
    })
    expect(await answered).toMatchObject(refused(1))
    expect(await stage.query('select from messages')).toEqual([])
  })

  it('is another vault’s once the list says so, and the exit with it', async () => {
    const { keys, start, listOf, as } = await setUp([A])
    {
      await using relayer = await start()
      expect((await postValidators(relayer.url, keys, as('a'))).status).toBe(200)
    }
    const { url } = await start({ PUBLIC_KEYS_FILE: await listOf([B]) })
    expect(await postValidators(url, keys, as('a'))).toMatchObject(refused(1))
    expect((await postValidators(url, keys, as('b'))).status).toBe(200)
    expect(await registerKeys(url, asks(B, 1), as('b'))).toEqual(keys)
  })

  it('of a lock and of another vault in the list stops the start, with the line', async () => {
    const cluster = await clusterFor(world, { address: A }, { validators: 2 })
    const [first, second] = keysOf(cluster.validators)
    const { start, stage } = await setUp([undefined])
    const list = await write('list', [`${first} ${A}`, '# the next one is wrong', `${second},${B}`])
    await expect(start({ CLUSTER_LOCK_FILES: cluster.lockFile, PUBLIC_KEYS_FILE: list })).rejects.toMatchObject({
      code: 'PUBLIC_KEYS_INVALID',
      message: expect.stringContaining('line 3 names another vault than the cluster lock of its key'),
    })
    expect(await stage.query('select from validators where listed_vault is not null')).toEqual([])
  })
})

describe.skipIf(skipWithoutAnvil)('a key without an owner', () => {
  it('is none of several operators’ to ask for, whoever comes first, but of who may act for all', async () => {
    const { keys, start, as } = await setUp([undefined])
    const { url } = await start()
    for (const name of ['b', 'a', 'b']) expect(await postValidators(url, keys, as(name))).toMatchObject(refused(1))
    expect((await postValidators(url, keys, as('any'))).status).toBe(200)
    for (const name of ['a', 'b']) expect(await postValidators(url, keys, as(name))).toMatchObject(refused(1))
  })

  it('is asked for by who may act for every vault, and its other keys are of their vaults, one by one', async () => {
    const { keys, start, as, stage, indexesOf } = await setUp([A, B, undefined], { both: `${A},${B}`, a: A, b: B })
    const { url } = await start()
    const [ofA, ofB, unowned] = keys as [string, string, string]
    expect((await postValidators(url, keys, as('both'))).status).toBe(200)
    expect(
      await stage.query(
        `select m.requester from messages m join validators v on v.id = m.validator_id order by v.listed_vault nulls last`,
      ),
    ).toEqual([{ requester: `vault:${A}` }, { requester: `vault:${B}` }, { requester: 'vaults:' }])
    for (const name of ['a', 'b']) expect(await postValidators(url, [unowned], as(name))).toMatchObject(refused(1))
    // A poll of one vault's token, and one that moves its exit: they are its own.
    expect((await postValidators(url, [ofA], as('a'))).status).toBe(200)
    expect((await postValidators(url, [ofB], as('b'))).status).toBe(200)
    expect((await postValidators(url, keys, as('both'))).status).toBe(200)
    const next = nextIndex(world.beacon)
    expect(await indexesOf(url)).toEqual(new Map(keys.map((key, position) => [key, next + position])))
  })

  it('is the one operator’s, however many tokens it has, beside who may act for all', async () => {
    const { keys, start, as, indexesOf } = await setUp([undefined, undefined], { a: A, also: A, any: '*' })
    const { url } = await start()
    const [first, second] = keys as [string, string]
    const next = nextIndex(world.beacon)
    for (const [name, wanted] of [
      ['any', [first, second]],
      ['a', [second, first]],
      ['also', [first, second]],
      ['a', [second]],
    ] as const)
      expect((await postValidators(url, wanted, as(name))).status).toBe(200)
    expect(await indexesOf(url)).toEqual(
      new Map([
        [first, next],
        [second, next],
      ]),
    )
    // Who asks for a vault goes before who may ask for all.
    expect((await postValidators(url, [first, second], as('any'))).status).toBe(409)
  })

  it('stays the same operator’s when its token has another name, or a new one, at other indexes too', async () => {
    const { keys, tokens, start, indexesOf } = await setUp([undefined, undefined], { a: A })
    const before = tokens.get('a') as Made
    const renamed = { ...before, line: before.line.replace(/^a /, 'renamed ') }
    const fresh = createToken('fresh', 'operator', A)
    const next = nextIndex(world.beacon)
    {
      await using relayer = await start()
      expect((await postValidators(relayer.url, keys, bearer(before))).status).toBe(200)
      expect(await registerKeys(relayer.url, asks(A, 2, 4), bearer(before))).toEqual(keys)
    }
    for (const [position, made] of [renamed, fresh].entries()) {
      await using relayer = await start({}, [made])
      expect(await registerKeys(relayer.url, asks(A, 2, 10 + position), bearer(made))).toEqual(keys)
      expect(await indexesOf(relayer.url)).toEqual(new Map(keys.map((key, i) => [key, next + 10 + position + i])))
      expect((await postValidators(relayer.url, keys.toReversed(), bearer(made))).status).toBe(200)
    }
  })

  it('is anybody’s where no tokens are set', async () => {
    const { keys, stage, listOf } = await setUp([A, undefined])
    const { url } = await stage.startRelayer({
      PUBLIC_KEYS_FILE: await listOf([A, undefined]),
      SIGNATURE_THRESHOLD: '3',
    })
    expect((await postValidators(url, keys)).status).toBe(200)
    expect(await registerKeys(url, asks(B, 2))).toEqual(keys.slice(1))
    expect(await registerKeys(url, asks(A, 2))).toEqual(keys.slice(0, 1))
  })
})
