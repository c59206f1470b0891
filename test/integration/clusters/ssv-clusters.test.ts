/** SSV clusters at the relayer: from keyshares files and from the chain, and what becomes of shares when operators change. */

import { createPrivateKey, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { emptySsvState, type SsvRegistration } from '@dvt-relayer/chain/ssv/registry.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { silentLogger } from '@dvt-relayer/common/log/logger.ts'
import { operatorKeyFingerprint, parseOperatorPublicKey } from '@dvt-relayer/crypto/ssv/operator-key.ts'
import { connectDatabase } from '@dvt-relayer/db/connect.ts'
import { findOperatorKeys } from '@dvt-relayer/db/queries/attendance/node-keys.ts'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { readConfig } from '../../../apps/relayer/src/config.ts'
import type { Context } from '../../../apps/relayer/src/context.ts'
import { examineSsv } from '../../../apps/relayer/src/doctor/logs/ssv.ts'
import { createEvents } from '../../../apps/relayer/src/events.ts'
import { storeSsvValidators } from '../../../apps/relayer/src/services/clusters/ssv-clusters.ts'
import { createSsvFollower } from '../../../apps/relayer/src/services/clusters/ssv-follow.ts'
import { createOperatorKeyReader } from '../../../apps/relayer/src/services/identity/operator-keys.ts'
import { openSealing } from '../../../apps/relayer/src/services/sealing/sealing.ts'
import { createSubmission } from '../../../apps/relayer/src/services/signatures/submit.ts'
import { createVerification } from '../../../apps/relayer/src/services/signatures/verify.ts'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type StandInLog, startRpc } from '../../support/chain/rpc.ts'
import { startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import {
  keyedValidators,
  keysharesJson,
  loadSsvCluster,
  makeOperators,
  makeSsvValidators,
  SSV_CONTRACT,
  type SsvClusterName,
  ssvLogs,
  ssvPath,
  validatorRemovedLog,
} from '../../support/keys/ssv.ts'
import { nextIndex, registerUntilReady } from '../../support/operator/operator.ts'
import { PUBLIC_URL, type SignedParts, signedBy } from '../../support/stages/identity.ts'
import { openMessages } from '../../support/stages/messages.ts'
import { askRegister, ETH32, keysOf, openStage, type Stage } from '../../support/stages/registrations.ts'
import {
  assertOraclesCanExit,
  engine,
  getExits,
  getValidators,
  type KeyedValidator,
  partialExit,
  postShares,
  postValidators,
  sidecar2Round,
  untilShares,
} from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

const HEAD = 1_300_000
/** The last block before the first validator of cluster-4 is split again. */
const BEFORE_CHANGE = 1_204_499
const OWNER = loadSsvCluster('cluster-4').owner
const IMPOSTOR = `0xd059${'00'.repeat(18)}`
const filesOf = (...names: SsvClusterName[]) => names.map((name) => ssvPath(`${name}/keyshares.json`)).join()
const [moved, stayed] = keyedValidators('cluster-4') as [KeyedValidator, KeyedValidator]
const [movedAnew] = keyedValidators('cluster-4-readded') as [KeyedValidator]
const [movedKey, stayedKey] = keysOf([moved, stayed]) as [string, string]
/** Each fixture validator with the operators that it has in the end. */
const finalValidators: { validators: KeyedValidator[]; signers: number[] }[] = [
  { validators: [stayed], signers: [263, 281, 282] },
  { validators: keyedValidators('cluster-4-gaps'), signers: [5, 1402, 70001] },
  { validators: keyedValidators('cluster-7'), signers: [5, 128, 280, 282, 1402] },
  { validators: [movedAnew], signers: [128, 1402, 70001] },
  { validators: keyedValidators('cluster-4-dkg'), signers: [280, 281, 282] },
]

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 3, threshold: 2 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

const indexesOf = ({ shares }: KeyedValidator) => shares.map(({ index }) => Number(index))

/** What the database pins of a validator. */
async function pinned(stage: Stage, publicKey: string): Promise<{ name: string | null; indexes: string[] }> {
  const [row] = await stage.query<{ name: string | null; indexes: string[] }>(
    `select c.name, array(select k.share_index::text from key_shares k where k.validator_id = v.id order by k.share_index) as indexes
     from validators v left join clusters c on c.id = v.cluster_id where v.public_key = $1`,
    [Buffer.from(fromHex(publicKey))],
  )
  return row ?? { name: null, indexes: [] }
}

const exitOf = async (url: string, key: string) => (await getExits(url)).find(({ public_key }) => public_key === key)

/** Posts the exit of one validator by one operator. */
async function post(url: string, validator: KeyedValidator, operator: number) {
  const [key = ''] = keysOf([validator])
  const index = (await exitOf(url, key))?.validator_index ?? 0
  return postShares(url, operator, [
    { public_key: key, exit_signature: partialExit(world.network, validator, operator, index) },
  ])
}

/** All oracles decrypt what the relayer has of these validators. */
async function assertReady(url: string, validators: readonly KeyedValidator[]): Promise<void> {
  const done = await untilShares(url, keysOf(validators))
  for (const [position, { publicKey }] of validators.entries()) {
    const shares = done.validators[position]?.oracles_exit_signature_shares ?? null
    const index = (await exitOf(url, toHex(publicKey)))?.validator_index ?? 0
    await assertOraclesCanExit(world.network, world.oracles, 2, publicKey, index, shares)
  }
}

describe.skipIf(skipWithoutAnvil)('keyshares files', () => {
  it('in every form give thresholds and pinned shares, and the oracles can exit', async () => {
    const stage = await openStage(world)
    const files = filesOf('cluster-4', 'cluster-4-gaps', 'cluster-7', 'cluster-4-readded', 'cluster-4-dkg')
    const all = finalValidators.flatMap(({ validators }) => validators)
    const list = join(world.dir, 'ssv-keys.csv')
    await writeFile(list, keysOf(all).join('\n'))
    const settings = { SSV_KEYSHARES_FILES: files, PUBLIC_KEYS_FILE: list }
    {
      await using _first = await world.startRelayer({ DATABASE_URL: stage.databaseUrl, ...settings })
    }
    const state = () =>
      stage.query(
        'select c.*, (select count(*) from validators v where v.cluster_id = c.id), (select max(k.ctid::text) from key_shares k) from clusters c order by c.id',
      )
    const before = await state()
    expect(before).toHaveLength(3)
    const { url } = await stage.startRelayer(settings)
    expect(await state()).toEqual(before)
    expect(await pinned(stage, movedKey)).toEqual({
      name: `${OWNER}:5,128,1402,70001`,
      indexes: ['5', '128', '1402', '70001'],
    })

    expect((await postValidators(url, keysOf(all))).status).toBe(200)
    // An operator of the earlier split has no place in the later one.
    expect(await post(url, moved, 263)).toMatchObject({
      status: 422,
      json: { failures: [{ index: 0, code: 'SHARE_INDEX_UNKNOWN' }] },
    })
    for (const { validators, signers } of finalValidators)
      for (const [position, operator] of signers.entries()) {
        const [key = ''] = keysOf(validators)
        expect((await exitOf(url, key))?.share_indexes_ready).toEqual(signers.slice(0, position))
        for (const validator of validators) expect((await post(url, validator, operator)).text).toBe('{}')
      }
    await assertReady(url, all)
  })

  it('with operator ids up to 2^53 - 1 go from the vault’s request to a registration', async () => {
    const ids = [3, 70_001, 2 ** 53 - 2, 2 ** 53 - 1]
    const validators = makeSsvValidators(1, makeOperators(ids), { owner: OWNER })
    const file = join(world.dir, 'keyshares-large.json')
    await writeFile(file, keysharesJson(validators))
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ SSV_KEYSHARES_FILES: file })
    const vault = await world.deployVault()
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01' as const,
    }
    await eventually('an answer', async () => ((await askRegister(url, request)).status === 200 ? true : undefined))
    for (const id of ids.slice(1))
      expect((await sidecar2Round(url, world.network, validators, id, { withHints: false }))?.text).toBe('{}')
    const answer = await registerUntilReady(url, request)
    expect((await getValidators(url))[0]?.share_indexes_ready).toEqual(ids.slice(1))
    const [item] = answer.validators
    expect(item?.public_key).toBe(keysOf(validators)[0])
    await assertOraclesCanExit(
      world.network,
      world.oracles,
      2,
      validators[0]?.publicKey ?? new Uint8Array(),
      request.startIndex,
      item?.oracles_exit_signature_shares ?? null,
    )
    for (const id of [2 ** 53, 0])
      expect((await ask(url, '/signatures', { body: { share_index: id, shares: [] } })).status, String(id)).toBe(422)
  })

  it('that cannot be trusted stop the boot, and nothing is imported', async () => {
    const stage = await openStage(world)
    const boot = async (settings: Record<string, string>) =>
      world.startRelayer({ DATABASE_URL: stage.databaseUrl, ...settings }).then(
        async (relayer) => {
          await relayer[Symbol.asyncDispose]()
          return 'booted'
        },
        ({ code, message }) => `${code} ${message}`,
      )
    const text = await readFile(ssvPath('cluster-4/keyshares.json'), 'utf8')
    const altered = async (name: string, from: RegExp, to: string) => {
      const file = join(world.dir, `${name}.json`)
      await writeFile(file, text.replace(from, to))
      return file
    }
    const stolen = await altered('stolen', /"ownerAddress": *"[^"]*"/, `"ownerAddress":"${IMPOSTOR}"`)
    expect(await boot({ SSV_KEYSHARES_FILES: stolen })).toBe(
      `KEYSHARES_INVALID ${stolen}: shares[0].payload.sharesData are not signed by the validator key for this owner and nonce 0`,
    )
    expect(await boot({ SSV_KEYSHARES_FILES: '/gone.json' })).toMatch(
      /^KEYSHARES_UNREADABLE \/gone.json cannot be read/,
    )
    const proofs = ssvPath('cluster-4-dkg/proofs.json')
    expect(await boot({ SSV_KEYSHARES_FILES: filesOf('cluster-4'), SSV_PROOFS_FILES: proofs })).toMatch(
      /^PROOF_MISSING .*proofs.json: has no proof of operator 263's share of shares\[0\]/,
    )
    expect(await stage.query('select from clusters')).toHaveLength(0)
  })

  it('that contradict a cluster lock or each other stop the boot and name both', async () => {
    const stage = await openStage(world)
    const cluster = await makeCluster({
      dir: join(world.dir, `lock-${randomBytes(4).toString('hex')}`),
      nodes: 4,
      threshold: 3,
      validators: 1,
      network: world.network,
      withdrawalAddress: new Uint8Array(20).fill(0x8a),
      feeRecipient: new Uint8Array(20).fill(1),
      name: 'ours',
    })
    const operators = makeOperators([1, 2, 3, 4])
    const secretKey = cluster.validators[0]?.secretKey
    const write = async (name: string, firstNonce: number, owner = OWNER) => {
      const file = join(world.dir, name)
      await writeFile(file, keysharesJson(makeSsvValidators(1, operators, { owner, firstNonce, secretKey })))
      return file
    }
    const [one, same, foreign] = [
      await write('one.json', 0),
      await write('same.json', 0),
      await write('foreign.json', 1, IMPOSTOR),
    ]
    const boot = (settings: Record<string, string>) =>
      world.startRelayer({ DATABASE_URL: stage.databaseUrl, ...settings })
    await expect(boot({ CLUSTER_LOCK_FILES: cluster.lockFile, SSV_KEYSHARES_FILES: one })).rejects.toMatchObject({
      code: 'KEYSHARES_LOCKED',
      message: expect.stringMatching(
        new RegExp(
          `^${one} shares\\[0\\] says .* than the cluster lock "ours" \\(lock_hash ${toHex(cluster.lock.lockHash)}\\)`,
        ),
      ),
    })
    for (const other of [same, foreign])
      await expect(boot({ SSV_KEYSHARES_FILES: `${one},${other}` })).rejects.toMatchObject({
        code: 'KEYSHARES_AMBIGUOUS',
        message: expect.stringContaining(`${one} shares[0] and ${other} shares[0] say different things`),
      })
    // Of an owner that does not count, nothing is taken.
    await using relayer = await boot({ SSV_KEYSHARES_FILES: foreign, SSV_OWNERS: OWNER })
    expect((await postValidators(relayer.url, keysOf(cluster.validators))).status).toBe(200)
    expect((await pinned(stage, keysOf(cluster.validators)[0] ?? '')).name).toBe('ours')
  })
})

describe.skipIf(skipWithoutAnvil)('the chain', () => {
  const allLogs = [...ssvLogs('operator-added.json'), ...ssvLogs('validator-added.json')]

  /** An execution node of hoodi whose final block is the given one. */
  async function startNode(finalized: number, logs: StandInLog[] = allLogs) {
    const node = await startRpc({ chainId: networks.hoodi.chainId, head: HEAD, logs })
    onTestFinished(() => node[Symbol.asyncDispose]())
    node.finalized = finalized
    return node
  }

  /** A follower of the contract of hoodi on a database, as a worker has it; what it said stands in `said`. */
  async function startFollower(stage: Stage, nodes: readonly { url: string }[], owners = OWNER) {
    const { config } = readConfig({
      NETWORK: 'hoodi',
      EXECUTION_ENDPOINT: nodes.map(({ url }) => url).join(),
      CONSENSUS_ENDPOINT: 'http://127.0.0.1:1',
      SEALING_KEY: '11'.repeat(32),
      SSV_OWNERS: owners,
    })
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    const execution = createExecutionClient({
      ...config.execution,
      retryTimeoutMs: 2_000,
      backoffMs: { first: 1, most: 5 },
      network: config.network,
    })
    const said: string[] = []
    const events = {
      ...createEvents(silentLogger),
      ssvLocked: (validators: readonly string[]) => void said.push(...validators),
      ssvEventsSkipped: (skipped: readonly { reason: string }[]) =>
        void said.push(...skipped.map(({ reason }) => reason)),
      ssvLogsWrong: (sentence: string) => void said.push(sentence),
    }
    const context = { config, db, events, chain: { execution } } as unknown as Parameters<typeof createSsvFollower>[0]
    const follower = createSsvFollower(context, engine)
    if (follower === undefined) throw new Error('no follower')
    return {
      said,
      round: () => follower.round(AbortSignal.timeout(PATIENCE_MS)),
      /** What `doctor` finds beside it, which leaves everything as it is. */
      async doctor() {
        const states = () => stage.query(`select xmin, value from checkpoints where name = 'ssv'`)
        const before = await states()
        const stop = AbortSignal.timeout(PATIENCE_MS)
        const found = await examineSsv(config, db, stop)
        // What is not read in time is said, and what was read before counts.
        expect(await examineSsv(config, db, stop, AbortSignal.abort())).toMatchObject({
          status: 'warning',
          message: 'not all events of the SSV contract were read within 25 s',
        })
        expect(await states()).toEqual(before)
        return found
      },
    }
  }

  /** A relayer that has only what others write into its database. */
  const idleRelayer = (stage: Stage) => stage.startRelayer({ SIGNATURE_THRESHOLD: '2' })

  it('gives the keys by which operators are known without a token: each speaks for its own validators', async () => {
    const stage = await openStage(world)
    const node = await startNode(HEAD - 64)
    await (await startFollower(stage, [node])).round()
    const known = async () =>
      (await stage.query<{ id: string }>('select operator_id as id from operator_keys order by operator_id')).map(
        ({ id }) => id,
      )
    const operators = [...new Set(finalValidators.flatMap(({ validators }) => validators.flatMap(indexesOf)))]
    expect(await known()).toEqual(operators.sort((a, b) => a - b).map(String))
    // A database that an earlier version has followed has none: they are read once more.
    await stage.query('delete from operator_keys where operator_id <> 5')
    await (await startFollower(stage, [node])).round()
    expect(await known()).toHaveLength(operators.length)

    const file = join(world.dir, `tokens-${randomBytes(4).toString('hex')}`)
    await writeFile(file, 'operators 70001,5,77\n')
    const { url } = await stage.startRelayer({
      SIGNATURE_THRESHOLD: '2',
      AUTH_TOKENS_FILE: file,
      PUBLIC_URL,
    })
    const text = Buffer.from(await readFile(ssvPath('operators/70001/private_key'), 'utf8'), 'base64').toString()
    const rsaKey = createPrivateKey(text)
    const send = async (operatorId: number, parts: SignedParts) =>
      ask(url, parts.path, {
        headers: await signedBy({ operatorId, rsaKey }, { network: world.network.name, ...parts }),
        ...(parts.body === undefined ? {} : { body: parts.body }),
      })
    expect((await send(70001, { path: '/whoami' })).json).toMatchObject({
      name: 'operator:70001',
      identity: 'operator_key',
      binding: { share_indexes: [70001] },
      clusters: expect.arrayContaining([expect.objectContaining({ source: 'ssv' })]),
    })
    expect((await send(5, { path: '/whoami' })).json).toMatchObject({ code: 'OPERATOR_FOREIGN' })
    expect((await send(77, { path: '/whoami' })).json).toMatchObject({ code: 'OPERATOR_UNKNOWN' })
    expect((await send(280, { path: '/whoami' })).json).toMatchObject({ code: 'NODE_UNLISTED' })
    const bodyOf = (publicKey: string) =>
      JSON.stringify({
        share_index: 70001,
        shares: [{ public_key: publicKey, exit_signature: `0x${'00'.repeat(96)}` }],
      })
    expect(await send(70001, { path: '/exit-signature', body: bodyOf(stayedKey) })).toMatchObject({
      status: 403,
      json: { code: 'NODE_BINDING' },
    })
    // Of its own validator nobody has asked for the exit: there is nothing to say.
    expect(await send(70001, { path: '/exit-signature', body: bodyOf(movedKey) })).toMatchObject({ status: 200 })
  })

  it('is not believed where it gives an operator another key than its events were read with', async () => {
    const stage = await openStage(world)
    const { node: honest, read, db } = await startKeyReader(stage)
    await read(honest, 263, 280)
    expect(await stage.query('select from operator_keys')).toEqual([])
    await read(honest, 263, 263)
    expect(await findOperatorKeys(db)).toMatchObject([{ operatorId: 263 }])
  })

  /** What reads operators' keys, told that one operator has the key of another. */
  async function startKeyReader(stage: Stage) {
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    const { url } = await startNode(HEAD - 64)
    const node = createExecutionClient({
      endpoints: [new URL(url)],
      timeoutMs: 5_000,
      retryTimeoutMs: 0,
      network: networks.hoodi,
    })
    const { operators } = readFixtureJson('ssv/expected.json') as { operators: { id: number; public_key: string }[] }
    const fingerprintOf = (id: number) =>
      operatorKeyFingerprint(
        parseOperatorPublicKey(operators.find((operator) => operator.id === id)?.public_key ?? '') ?? new Uint8Array(),
      )
    const contract = { address: fromHex(SSV_CONTRACT), block: 1 }
    const read = async (of: typeof node, id: number, keyOf: number) => {
      const registration = { data: { shares: [{ operatorId: id }] } } as unknown as SsvRegistration
      const state = {
        ...emptySsvState({ contract }),
        nextBlock: HEAD - 63,
        operators: new Map([[id, fingerprintOf(keyOf)]]),
        live: new Map([['one', registration]]),
      }
      await createOperatorKeyReader({ db }, { contract })(of, state, AbortSignal.timeout(PATIENCE_MS))
    }
    return { node, read, db }
  }

  it('gives a validator other operators once that is final: what the old ones signed is void', async () => {
    const stage = await openStage(world)
    const { url } = await idleRelayer(stage)
    const node = await startNode(BEFORE_CHANGE)
    const follower = await startFollower(stage, [node])
    await follower.round()
    expect((await pinned(stage, movedKey)).name).toBe(`${OWNER}:263,280,281,282`)
    expect(follower.said).toEqual(['have 1056 bytes, must have 1312 for 4 operators'])

    expect((await postValidators(url, [movedKey, stayedKey])).status).toBe(200)
    for (const operator of [263, 281]) expect((await post(url, moved, operator)).text).toBe('{}')
    expect((await post(url, stayed, 263)).text).toBe('{}')
    expect((await exitOf(url, movedKey))?.share_indexes_ready).toEqual([263, 281])
    expect(await post(url, movedAnew, 5)).toMatchObject({ status: 422 })

    node.finalized = HEAD - 64
    await follower.round()
    expect(await pinned(stage, movedKey)).toEqual({
      name: `${OWNER}:5,128,1402,70001`,
      indexes: ['5', '128', '1402', '70001'],
    })
    const exit = await eventually('the old signatures are void', async () => {
      const found = await exitOf(url, movedKey)
      return found?.share_indexes_ready.length === 0 ? found : undefined
    })
    expect(exit.share_indexes_unverified ?? []).toEqual([])
    expect(await post(url, moved, 280)).toMatchObject({
      status: 422,
      json: { failures: [{ index: 0, code: 'SHARE_INDEX_UNKNOWN' }] },
    })
    for (const operator of [5, 128]) expect((await post(url, movedAnew, operator)).text).toBe('{}')
    expect((await exitOf(url, movedKey))?.is_exit_signature_ready).toBe(false)
    expect((await post(url, movedAnew, 70_001)).text).toBe('{}')
    // The impostor has registered this one for itself; its owner's shares go on counting.
    for (const operator of [280, 282]) expect((await post(url, stayed, operator)).text).toBe('{}')
    await assertReady(url, [moved, stayed])
  })

  it('that changes while a signature is verified lets it not count among the new ones', async () => {
    const stage = await openStage(world)
    const { url } = await idleRelayer(stage)
    const node = await startNode(BEFORE_CHANGE)
    const follower = await startFollower(stage, [node])
    await follower.round()
    await postValidators(url, [movedKey])
    const exit = await exitOf(url, movedKey)
    const { config } = readConfig(world.environment({ DATABASE_URL: stage.databaseUrl, SIGNATURE_THRESHOLD: '2' }))
    const db = await connectDatabase({ url: stage.databaseUrl, logger: silentLogger })
    onTestFinished(() => db[Symbol.asyncDispose]())
    const crypto = {
      areSignatures: async () => [],
      async verify(triples: readonly Parameters<typeof engine.verifyBatch>[0][number][]) {
        node.finalized = HEAD - 64
        await follower.round()
        return engine.verifyBatch(triples)
      },
    }
    const sealing = await openSealing(config, db, silentLogger)
    const queue = { add: async () => 'added' }
    const events = createEvents(silentLogger)
    const announced = () => {}
    const context = {
      config,
      db,
      sealing,
      crypto,
      queue,
      events,
      announced,
      patienceMs: PATIENCE_MS,
      logger: silentLogger,
    } as unknown as Context
    const verification = createVerification(context)
    const signatures = createSubmission({ ...context, verification })
    const signature = partialExit(world.network, moved, 263, exit?.validator_index ?? 0)
    await signatures.submit(263, [{ public_key: movedKey, exit_signature: signature }])
    await verification.drain()
    // A post is answered after some seconds whatever is still being verified.
    await eventually('the verdict', async () =>
      (await stage.query('select from partial_signatures')).length === 0 ? true : undefined,
    )
    expect((await pinned(stage, movedKey)).indexes).toEqual(['5', '128', '1402', '70001'])
  })

  it('is taken up where the last process was, and read from the second node when the first is away', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const [first, second] = [await startNode(BEFORE_CHANGE), await startNode(HEAD - 64)]
    await (await startFollower(stage, [first])).round()
    first.fail('down')
    const resumed = await startFollower(stage, [first, second])
    await resumed.round()
    expect(Math.min(...second.ranges.map(([from]) => from))).toBe(BEFORE_CHANGE + 1)
    for (const { validators } of finalValidators)
      expect((await pinned(stage, keysOf(validators)[0] ?? '')).indexes).toEqual(
        validators[0]?.shares.map(({ index }) => String(index)),
      )
    expect(await stage.query(`select from clusters where source = 'ssv'`)).toHaveLength(3)

    // A process that is behind takes nothing back: neither with what it knows, nor with what it still reads.
    const [late] = await stage.query<{ value: string }>(`select value from checkpoints where name = 'ssv'`)
    await stage.query(`delete from checkpoints where name = 'ssv'`)
    const third = await startNode(1_200_099)
    const behind = await startFollower(stage, [third])
    await behind.round()
    await stage.query(`update checkpoints set value = $1::jsonb where name = 'ssv'`, [JSON.stringify(late?.value)])
    third.finalized = BEFORE_CHANGE
    await behind.round()
    expect((await pinned(stage, movedKey)).indexes).toEqual(['5', '128', '1402', '70001'])
  })

  it('of a node that once had a final block far above its chain is said to be behind what was read', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const node = await startNode(HEAD + 20_000)
    node.head = HEAD + 20_000
    const follower = await startFollower(stage, [node])
    expect(await follower.round()).toBeUndefined()
    Object.assign(node, { head: HEAD, finalized: HEAD - 64 })
    expect(await follower.round()).toMatch(
      new RegExp(
        `^SSV registrations are read up to block ${HEAD + 20_000}, and the execution node at .* nothing new is taken$`,
      ),
    )
    Object.assign(node, { head: HEAD + 20_100, finalized: HEAD + 20_050 })
    expect(await follower.round()).toBeUndefined()
  })

  it('is not believed while its answers lack a registration in turns, and heals by itself', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const node = await startNode(HEAD - 64)
    const follower = await startFollower(stage, [node])
    let times = 0
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344 && times++ % 2 === 0
    await expect(follower.round()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringContaining('left log 0 of block 1200344 of the SSV contract out'),
    })
    expect(await stage.query(`select from clusters where source = 'ssv'`)).toEqual([])
    expect(await stage.query(`select from checkpoints where name = 'ssv'`)).toEqual([])
    // Once is noticed and mended in the same round.
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344 && times++ === 100
    times = 100
    await follower.round()
    expect(times).toBeGreaterThan(101)
    expect(follower.said).toEqual(['have 1056 bytes, must have 1312 for 4 operators'])
    expect(await stage.query(`select from clusters where source = 'ssv'`)).toHaveLength(3)
  })

  it('of a node that always lacks a registration is read again from the node that has it', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const [lacking, node] = [await startNode(HEAD - 64), await startNode(HEAD - 64)]
    lacking.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344
    const follower = await startFollower(stage, [lacking, node])
    const has = `registrations of ${OWNER} before log .* ${new URL(node.url).host} has`
    expect(await follower.doctor()).toMatchObject({ status: 'warning', message: expect.stringMatching(has) })
    await expect(follower.round()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringMatching(new RegExp(`^${has}`)),
    })
    expect(await stage.query(`select from clusters where source = 'ssv'`)).toEqual([])
    await follower.round()
    expect(await stage.query(`select from clusters where source = 'ssv'`)).toHaveLength(3)
    expect((await pinned(stage, stayedKey)).name).toBe(`${OWNER}:263,280,281,282`)
  })

  it('of the only node, which lacks a registration that a later one shows, says what may be missing', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const node = await startNode(HEAD - 64)
    node.leavesOut = ({ blockNumber }) => blockNumber === 1_200_344
    const follower = await startFollower(stage, [node])
    for (let round = 0; round < 2; round++)
      expect(await follower.round()).toMatch(
        new RegExp(`^registrations of ${OWNER} before log \\d+ of block \\d+ of the SSV contract may be missing`),
      )
    expect(await follower.doctor()).toMatchObject({ status: 'warning', message: await follower.round() })
    // The same node has it now, and so far nobody has asked it again for what is settled.
    node.leavesOut = () => false
    const rounds = async () => {
      for (let round = 0; round < 60; round++) await follower.round()
    }
    await expect(rounds()).rejects.toThrow(/was left out by an execution node, .* has it: all events are read again$/)
    expect(await follower.round()).toBeUndefined()
    expect(await follower.doctor()).toMatchObject({ status: 'good', details: [] })
    expect((await pinned(stage, stayedKey)).name).toBe(`${OWNER}:263,280,281,282`)
  })

  it('of the only node, whose newest registration it always lacks, is taken from receipts, or waits and says so', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const last = 1_207_777
    const isLast = ({ blockNumber }: { blockNumber: number }) => blockNumber === last
    const node = await startNode(last + 36)
    node.head = last + 100
    node.leavesOut = isLast
    node.receipts = { leaveOut: isLast }
    const follower = await startFollower(stage, [node])
    await expect(follower.round()).rejects.toMatchObject({
      code: 'EXECUTION_INVALID',
      message: expect.stringMatching(
        new RegExp(`^block ${last} may have an event of the SSV contract that the execution node at .* left out`),
      ),
    })
    expect(await stage.query(`select from clusters where source = 'ssv'`)).toEqual([])
    const [stored] = await stage.query<{ next: number; doubtful: number }>(
      `select ((value #>> '{}')::jsonb ->> 'next_block')::int as next, ((value #>> '{}')::jsonb ->> 'doubtful')::int as doubtful
       from checkpoints where name = 'ssv'`,
    )
    expect(stored?.next).toBeLessThanOrEqual(last)
    expect(stored?.doubtful).toBe(last)
    expect(await follower.doctor()).toMatchObject({
      status: 'problem',
      message: expect.stringContaining(`cannot be read: block ${last} may have an event of the SSV contract`),
    })
    node.receipts = { leaveOut: () => false }
    await follower.round()
    expect(follower.said.join()).toContain(`said otherwise of log 0 of block ${last} of the SSV contract`)
    for (const key of keysOf(keyedValidators('cluster-4-dkg')))
      expect((await pinned(stage, key)).name).toBe(`${OWNER}:263,280,281,282`)
  })

  it('with an impostor among the owners skips what the validator key has not signed', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    const impostor = toHex(
      Buffer.from(
        ssvLogs('validator-added.json')
          .find(({ blockNumber }) => blockNumber === 1_206_000)
          ?.topics[1]?.slice(26) ?? '',
        'hex',
      ),
    )
    const follower = await startFollower(stage, [await startNode(HEAD - 64)], `${OWNER},${impostor}`)
    await follower.round()
    expect(follower.said).toContain('are not signed by the validator key for this owner and nonce 0')
    expect((await pinned(stage, stayedKey)).name).toBe(`${OWNER}:263,280,281,282`)
  })

  it('takes removed validators away, also from files, and keeps what is open, and what may be missing', async () => {
    const stage = await openStage(world)
    const settings = { SSV_KEYSHARES_FILES: filesOf('cluster-4') }
    const network = join(world.dir, 'ssv-network.json')
    const own = { ssv_network: SSV_CONTRACT, ssv_network_block: 1_000 }
    await writeFile(network, JSON.stringify({ ...JSON.parse(await readFile(world.networkFile, 'utf8')), ...own }))
    const removal = validatorRemovedLog(
      { owner: OWNER, operators: makeOperators([1, 2, 3, 4]), publicKey: stayed.publicKey },
      1_003,
      0,
    )
    // The registrations of cluster-4, with their nonces, on the chain of this world.
    const logs = allLogs
      .filter(({ blockNumber }) => blockNumber === 1_200_100)
      .map((log) => ({ ...log, blockNumber: 1_002 }))
    await using proxy = await startRpcProxy(world.anvil)
    const [firstOfOwner] = logs
    let leftOut = firstOfOwner
    proxy.answer(async ({ method, params, node }) => {
      const [filter] = params as { address?: string; topics?: string[]; fromBlock: string; toBlock: string }[]
      if (method !== 'eth_getLogs' || filter?.address !== SSV_CONTRACT) return node()
      return logs
        .filter((log) => log !== leftOut)
        .filter(
          ({ topics: [topic], blockNumber: at }) =>
            topic === filter.topics?.[0] && at >= Number(filter.fromBlock) && at <= Number(filter.toBlock),
        )
        .map((log) => ({
          ...log,
          blockNumber: `0x${log.blockNumber.toString(16)}`,
          logIndex: `0x${log.logIndex.toString(16)}`,
        }))
    })
    const start = () =>
      world.startRelayer({
        DATABASE_URL: stage.databaseUrl,
        ...settings,
        NETWORK: network,
        EXECUTION_ENDPOINT: proxy.url,
        SSV_OWNERS: OWNER,
      })
    const isFollowed = (blocks: number) =>
      eventually('the chain was followed', async () => {
        const [row] = await stage.query<{ next: number }>(
          `select ((value #>> '{}')::jsonb ->> 'next_block')::int as next from checkpoints where name = 'ssv'`,
        )
        return (row?.next ?? 0) > blocks ? true : undefined
      })
    const isReported = (url: string, check: object) =>
      eventually('/ready says so', async () => {
        const { checks } = (await ask(url, '/ready')).json as { checks: Record<string, unknown> }
        return isDeepStrictEqual(checks['ssv'], check) ? true : undefined
      })
    await world.anvil.mine(10)
    {
      await using relayer = await start()
      expect((await postValidators(relayer.url, [movedKey, stayedKey])).status).toBe(200)
      expect((await post(relayer.url, stayed, 263)).text).toBe('{}')
      await isFollowed(1_003)
      // The registration of the second one is signed for the nonce after that of the first.
      await isReported(relayer.url, {
        ok: false,
        message: `registrations of ${OWNER} before log ${logs[1]?.logIndex} of block 1002 of the SSV contract may be missing: nonce 1 was signed where 0 were counted, and no execution node knows of more; or the owner has skipped some`,
      })
      for (const key of [movedKey, stayedKey])
        expect((await pinned(stage, key)).indexes).toEqual(['263', '280', '281', '282'])
    }
    // A file that comes later counts as well: the chain has not shown that what it lacks has ended.
    await stage.query(
      `with v as (update validators set cluster_id = null, place = null where public_key = $1 returning id)
       delete from key_shares using v where validator_id = v.id`,
      [Buffer.from(moved.publicKey)],
    )
    {
      await using _relayer = await start()
      expect((await pinned(stage, movedKey)).indexes).toEqual(['263', '280', '281', '282'])
    }
    leftOut = undefined
    const final = Number(await world.anvil.rpc('eth_blockNumber'))
    logs.push({ ...removal, blockNumber: final + 1 })
    await world.anvil.mine(5)
    {
      await using relayer = await start()
      await isFollowed(final + 1)
      expect(await pinned(stage, stayedKey)).toEqual({ name: null, indexes: [] })
      expect((await exitOf(relayer.url, stayedKey))?.share_indexes_ready).toEqual([263])
      await isReported(relayer.url, { ok: true })
    }
    // The file has it still, and the chain has got past that.
    await stage.query(`update messages set state = 'expired'`)
    await using relayer = await start()
    expect(await pinned(stage, stayedKey)).toEqual({ name: null, indexes: [] })
    expect(await postValidators(relayer.url, [stayedKey])).toMatchObject({ json: { code: 'THRESHOLD_UNKNOWN' } })
    expect((await postValidators(relayer.url, [movedKey])).status).toBe(200)
  })

  it('tells of the messages of a validator that leaves: of its candidates nobody may have been told', async () => {
    const { db, query, addValidator, addExit, message } = await openMessages()
    const [left, stays] = [await addValidator(), await addValidator()]
    const exits = [await addExit(left.id), await addExit(stays.id)]
    await db.transaction((tx) => storeSsvValidators(tx, [], [left]))
    expect(await Promise.all(exits.map(message))).toMatchObject([
      { revision: expect.any(Number) },
      { state: 'collecting', revision: 0 },
    ])
    expect((await message(exits[0] ?? 0)).revision).toBeGreaterThan(0)
    expect(await query(sql`select from key_shares`)).toEqual([])
  })

  it('leaves what a cluster lock covers to the lock, and says so once', async () => {
    const stage = await openStage(world)
    await idleRelayer(stage)
    await stage.query(
      `with c as (insert into clusters (name, threshold, source, lock_hash) values ('lock', 3, 'lock', $1) returning id)
       insert into validators (public_key, cluster_id, place) select $2, c.id, 0 from c`,
      [Buffer.alloc(32, 7), Buffer.from(stayed.publicKey)],
    )
    const node = await startNode(BEFORE_CHANGE)
    const follower = await startFollower(stage, [node])
    await follower.round()
    node.finalized = HEAD - 64
    await follower.round()
    expect(follower.said.filter((words) => words.startsWith(stayedKey))).toEqual([
      `${stayedKey}: "lock" (lock_hash 0x${'07'.repeat(32)})`,
    ])
    expect((await pinned(stage, stayedKey)).name).toBe('lock')
  })
})
