/** `GET /validators/{public_key}/explain` and the command: what is said of validators in each state, to whom, over a real database. */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { routes } from '@dvt-relayer/api/routes.ts'
import { Explanation, type ReasonCode } from '@dvt-relayer/api/schemas.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import pg from 'pg'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { nextIndex } from '../../support/operator/operator.ts'
import { createRelayerDatabase } from '../../support/services/postgres.ts'
import { startProcess } from '../../support/services/process.ts'
import { clusterFor, ETH32, openStage, registerKeys, signAll } from '../../support/stages/registrations.ts'
import { partialExit, postShares, postValidators, sidecarRound } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

const check = Compile(Explanation)
const pathOf = (key: string) => routes.getExplanation.path.replace(':public_key', key)

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 2, threshold: 1 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** What is said of a key. */
async function explain(url: string, key: string, headers: Record<string, string> = {}): Promise<Explanation> {
  const { status, json, text } = await ask(url, pathOf(key), { headers })
  expect({ status, text: status === 200 ? '' : text }).toEqual({ status: 200, text: '' })
  expect([...check.Errors(json)]).toEqual([])
  return json as Explanation
}
const codesOf = ({ reasons }: Explanation) =>
  reasons.map(({ code, share_indexes: indexes }) => [code, indexes.join()].join(' ').trim())

/** Waits until a verdict comes about. */
const untilVerdict = (url: string, key: string, code: ReasonCode) =>
  eventually(`${code} of ${key}`, async () => {
    const explanation = await explain(url, key)
    return explanation.verdict.code === code ? explanation : undefined
  })

describe.skipIf(skipWithoutAnvil)('a validator that is collected', () => {
  it('of generation 3 is explained from its request to its shares: collecting, a wrong share, ready', async () => {
    const cluster = await clusterFor(world, undefined, { validators: 1 })
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const [validator] = cluster.validators
    if (validator === undefined) throw new Error('a cluster without validators')
    const key = toHex(validator.publicKey)
    expect(await explain(url, key)).toMatchObject({ verdict: { code: 'NOT_ASKED' }, generation: null, exit: null })

    await postValidators(url, [key])
    const asked = await explain(url, key)
    expect(codesOf(asked)).toEqual(['NODE_NEVER_SEEN 1,2,3,4'])
    expect(asked).toMatchObject({ generation: 3, cluster: { source: 'lock', threshold: 3 }, deposit: null })
    expect(asked.next).toEqual([{ what: 'expires', at_timestamp: (asked.exit?.requested_at_timestamp ?? 0) + 3600 }])

    for (const shareIndex of [1, 2]) await sidecarRound(url, world.network, [validator], shareIndex)
    const index = asked.exit?.validator_index ?? 0
    const wrong = partialExit(world.network, validator, 3, index + 1)
    await postShares(url, 3, [{ public_key: key, exit_signature: wrong }])
    const rejected = await eventually('the wrong share', async () => {
      const found = await explain(url, key)
      return found.verdict.code === 'SHARE_REJECTED' ? found : undefined
    })
    expect(rejected.verdict).toMatchObject({ share_indexes: [3], who: 'node_operator' })
    expect(rejected.shares.map(({ exit }) => exit?.state)).toEqual(['verified', 'verified', 'rejected', 'missing'])
    expect(rejected.shares[0]?.exit?.received_at_timestamp).toBeGreaterThan(rejected.time - 600)
    // Nothing of what was signed is told.
    expect(JSON.stringify(rejected)).not.toMatch(/0x[0-9a-f]{192}/)

    await sidecarRound(url, world.network, [validator], 3)
    const ready = await untilVerdict(url, key, 'READY')
    expect(ready).toMatchObject({
      exit: { state: 'ready', oracle_shares: 'current' },
      validator_index: index,
      oracle_set_cid: expect.stringMatching(/./),
    })
  })

  it('of generation 4 is explained with its deposit, and with whom its key is for', async () => {
    const vault = await world.deployVault()
    const cluster = await clusterFor(world, undefined, { validators: 1 })
    const stage = await openStage(world)
    const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01',
    } as const
    const [key = ''] = await eventually('the key', async () => {
      const keys = await registerKeys(url, request).catch(() => [])
      return keys.length > 0 ? keys : undefined
    })
    await signAll(world, url, cluster.validators, [1])
    const collecting = await explain(url, key)
    expect(collecting).toMatchObject({
      generation: 4,
      vault: checksumAddress(fromHex(vault.address, 20)),
      exit: { state: 'collecting' },
      deposit: { state: 'collecting', amount: ETH32, validator_type: '0x01' },
    })
    expect(collecting.shares[0]).toMatchObject({ exit: { state: 'verified' }, deposit: { state: 'verified' } })
    await signAll(world, url, cluster.validators, [2, 3])
    await untilVerdict(url, key, 'READY')
  })
})

describe.skipIf(skipWithoutAnvil)('a validator in whatever state', () => {
  const [A, B] = [randomBytes(20), randomBytes(20)]
  const tokens = {
    admin: createToken('admin', 'admin', '*'),
    a: createToken('a', 'operator', toHex(A)),
    b: createToken('b', 'operator', toHex(B)),
    any: createToken('any', 'operator', '*'),
    node1: createToken('node1', 'sidecar', '1'),
    node9: createToken('node9', 'sidecar', '9'),
    nodes: createToken('nodes', 'sidecar', '*'),
    oracle: createToken('oracle', 'oracle', toHex(randomBytes(20))),
  }
  const as = (name: keyof typeof tokens) => ({ authorization: `Bearer ${tokens[name].token}` })
  const resources = new AsyncDisposableStack()
  let client: pg.Client
  let url: string
  let environment: Record<string, string>
  let keys: string[]
  let next = 0

  beforeAll(async () => {
    const database = resources.use(await createRelayerDatabase())
    client = new pg.Client({ connectionString: database.url })
    client.on('error', () => undefined)
    await client.connect()
    resources.defer(() => client.end())
    const dir = join(world.dir, 'explained')
    const cluster = await makeCluster({
      ...{ dir, nodes: 4, threshold: 3, validators: 40, network: world.network },
      ...{ withdrawalAddress: A, feeRecipient: new Uint8Array(20).fill(1) },
    })
    keys = cluster.validators.map(({ publicKey }) => toHex(publicKey))
    const file = join(world.dir, 'explain-tokens')
    await writeFile(
      file,
      Object.values(tokens)
        .map(({ line }) => line)
        .join('\n'),
    )
    environment = {
      ...{ DATABASE_URL: database.url, CLUSTER_LOCK_FILES: cluster.lockFile, AUTH_TOKENS_FILE: file },
      ...{ OBOL_API: 'on', PUBLIC_URL: 'https://relayer.example/' },
      // Nothing is finished and no oracle set comes but what a test writes.
      ...{ ROLE: 'api', IPFS_FETCH_ENDPOINTS: 'http://127.0.0.1:9' },
    }
    url = resources.use(await world.startRelayer(environment)).url
  })
  afterAll(() => resources.disposeAsync())
  beforeEach(async () => {
    await query(`delete from nodes_seen`)
    await query(`delete from processes`)
    await query(`insert into processes (id, role, version) values ('worker', 'worker', 'x')`)
  })

  async function query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
    return (await client.query<T>(text, values)).rows
  }
  /** A validator that no test had before. */
  async function take(): Promise<{ key: string; id: number }> {
    const key = keys[next++] ?? ''
    const [row] = await query<{ id: number }>(`select id::int from validators where public_key = $1`, [bytes(key)])
    return { key, id: row?.id ?? 0 }
  }
  const bytes = (hex: string) => Buffer.from(hex.slice(2), 'hex')
  /** A message that was asked for an hour ago. */
  async function message(
    validatorId: number,
    kind: 'exit' | 'deposit',
    state: string,
    more: { index?: number; vault?: Buffer } = {},
  ) {
    const { index = 7, vault = A } = more
    const [row] = await query<{ id: number }>(
      `insert into messages (validator_id, kind, validator_index, epoch, vault, amount_gwei, validator_type, signing_root, threshold, state,
                             signature, created_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, 3, $9, $10, now() - interval '1 hour') returning id::int`,
      [
        ...[validatorId, kind],
        ...(kind === 'exit' ? [index, 0, null, null, null] : [null, null, vault, ETH32, '0x01']),
        ...[randomBytes(32), state, state === 'ready' ? randomBytes(96) : null],
      ],
    )
    return row?.id ?? 0
  }
  async function signed(messageId: number, ...shareIndexes: number[]) {
    for (const shareIndex of shareIndexes) await candidate(messageId, shareIndex, 'verified')
  }
  const candidate = (messageId: number, shareIndex: number, state: string) =>
    query(
      `insert into partial_signatures (message_id, share_index, digest, sealed, state) values ($1, $2, $3, $4, $5)`,
      [...[messageId, shareIndex, randomBytes(32), state === 'rejected' ? null : randomBytes(9), state]],
    )
  const seen = (token: string, shareIndex: number, secondsAgo: number) =>
    query(
      `insert into nodes_seen (token_name, share_index, seen_at, listed_at)
       values ($1, $2, now() - make_interval(secs => $3), now() - make_interval(secs => $3))`,
      [token, shareIndex, secondsAgo],
    )
  /** Node 1 with a token, 2 with its key, 3 with charon by the same kind of key, each seen; 4 may be whoever has a token for all. */
  async function comesInItsWay(): Promise<void> {
    await seen('node1', 1, 3)
    await seen(`node:0x${'22'.repeat(20)}`, 2, 500)
    await seen(`node:0x${'33'.repeat(20)}`, 3, 500)
    await seen('nodes', 0, 500)
    // What a sidecar calls itself says nothing of charon.
    await query(`update nodes_seen set software = 'charon', version = '1.11.0' where share_index = 2`)
    await query(`update nodes_seen set software = 'charon' where share_index in (1, 3)`)
  }
  /** A new current oracle set, announced so long ago. */
  async function adopt(cid: string, block: number, secondsAgo: number): Promise<number> {
    await query(`update oracle_sets set is_current = false`)
    const [row] = await query<{ id: number }>(
      `insert into oracle_sets (cid, threshold, public_keys, config, block_number, announced_at, is_current)
       values ($1, 1, $2, '{"untilForceExitEpochs": 10}', $3, now() - make_interval(secs => $4), true) returning id::int`,
      [cid, Buffer.alloc(130), block, secondsAgo],
    )
    return row?.id ?? 0
  }
  const split = (messageId: number, setId: number) =>
    query(
      `insert into oracle_shares (message_id, oracle_set_id, public_key_shares, ciphertexts, receipt, revision) values ($1, $2, $3, $4, $5, $1)`,
      [messageId, setId, randomBytes(96), randomBytes(386), randomBytes(32)],
    )
  const register = (id: number, setId: number | null, index = 7) =>
    query(
      `update validators set registered_at = now(), beacon_index = $2, beacon_vault = $3, oracle_set_id = $4 where id = $1`,
      [id, index, A, setId],
    )
  const says = async (key: string) => codesOf(await explain(url, key, as('admin')))

  it('of nobody is 404 KEY_UNKNOWN', async () => {
    const { status, json } = await ask(url, pathOf(toHex(randomBytes(48))), { headers: as('admin') })
    expect({ status, json }).toMatchObject({ status: 404, json: { code: 'KEY_UNKNOWN' } })
  })

  it('whose nodes are missing is explained by when each was last seen', async () => {
    const { key, id } = await take()
    await signed(await message(id, 'exit', 'collecting'), 1)
    await seen('node2', 2, 3)
    await seen('node3', 3, 500)
    expect(await says(key)).toEqual(['NODE_NEVER_SEEN 4', 'NODE_AWAY 3', 'NODE_SILENT 2'])
    const { shares, time } = await explain(url, key, as('admin'))
    expect(shares.map(({ node }) => node.state)).toEqual(['unknown', 'there', 'away', 'never'])
    expect(shares[2]?.node.seen_at_timestamp).toBeLessThanOrEqual(time - 499)
    await seen('nodes', 0, 3)
    expect(await says(key)).toEqual(['NODE_SILENT 2', 'NODE_UNKNOWN 3,4'])
  })

  it('whose node has its share index in another cluster too is not taken for that one', async () => {
    const { key, id } = await take()
    await signed(await message(id, 'exit', 'collecting'), 1, 3)
    for (const token of ['mine', 'theirs']) await seen(token, 2, 3)
    await seen('node4', 4, 3)
    // Two tokens of one cluster's node are one node.
    expect(await says(key)).toEqual(['NODE_SILENT 2,4'])
    await query(
      `with c as (insert into clusters (name, threshold) values ('other', 1) returning id),
            v as (insert into validators (public_key, cluster_id, place) select $1, id, 0 from c returning id)
       insert into key_shares (validator_id, share_index, public_key_share, source) select id, 2, $1, 'lock' from v`,
      [randomBytes(48)],
    )
    expect(await says(key)).toEqual(['NODE_SILENT 4', 'NODE_UNKNOWN 2'])
  })

  it('one of whose nodes is refused is explained by that', async () => {
    const { key, id } = await take()
    await signed(await message(id, 'exit', 'collecting'), 1, 2)
    await seen('node4', 4, 3)
    await query(
      `insert into nodes_seen (token_name, share_index, seen_at, refused_at, refusal_code) values ('node3', 3, now(), now(), 'TOKEN_BINDING')`,
    )
    expect(await says(key)).toEqual(['NODE_REFUSED 3', 'NODE_SILENT 4'])
    expect((await explain(url, key, as('admin'))).shares[2]?.node).toMatchObject({ refusal_code: 'TOKEN_BINDING' })
  })

  it('whose nodes come in different ways says which, and what one without a sidecar runs', async () => {
    const { key, id } = await take()
    await message(id, 'exit', 'collecting')
    await message(id, 'deposit', 'collecting', { vault: B })
    await comesInItsWay()
    // Of node 4 itself nothing was ever seen, and who came without a share index is gone.
    expect(await says(key)).toEqual(['NODE_NEVER_SEEN 4', 'NODE_AWAY 2', 'NODE_RUNS_CHARON 3', 'NODE_SILENT 1'])
    const { shares } = await explain(url, key, as('admin'))
    expect(shares.map(({ node }) => node.came_by)).toEqual(['token', 'node_key', 'charon', undefined])
    const [exit, deposit, ...more] = shares[2]?.charon_commands ?? []
    expect([exit, ...more]).toEqual([
      'charon exit sign --all --exit-epoch=0 --beacon-node-endpoints=https://relayer.example/obol --publish-address=https://relayer.example',
    ])
    // To the vault of the deposit itself, whatever else is known of the key.
    expect(deposit).toContain(
      `--validator-public-keys=${key} --deposit-amounts=32 --withdrawal-addresses=0x01${'00'.repeat(11)}${B.toString('hex')} `,
    )
    // Charon is one of the ways that a node has of which none is known.
    expect(shares[3]?.charon_commands).toEqual([exit, deposit])
    for (const index of [0, 1]) expect(shares[index]).not.toHaveProperty('charon_commands')
  })

  it('with wrong shares is explained by them, also where those left are too few', async () => {
    const { key, id } = await take()
    const exit = await message(id, 'exit', 'collecting')
    await signed(exit, 1, 2)
    await candidate(exit, 3, 'rejected')
    await seen('node4', 4, 3)
    expect(await says(key)).toEqual(['SHARE_REJECTED 3', 'NODE_SILENT 4'])
    // A right one beside a wrong one counts.
    await candidate(exit, 2, 'rejected')
    expect(await says(key)).toEqual(['SHARE_REJECTED 3', 'NODE_SILENT 4'])
    await candidate(exit, 4, 'rejected')
    expect(await says(key)).toEqual(['THRESHOLD_UNREACHABLE 3,4'])
  })

  it('with enough shares waits for a worker, and is told when there is none', async () => {
    const { key, id } = await take()
    await signed(await message(id, 'exit', 'collecting'), 1, 2, 3)
    expect(await says(key)).toEqual(['BEING_FINISHED'])
    await query(`update processes set stopped_at = now()`)
    expect(await says(key)).toEqual(['NO_WORKER', 'BEING_FINISHED'])
  })

  it('of generation 4 lacks what its exit or its deposit lacks', async () => {
    const { key, id } = await take()
    await signed(await message(id, 'exit', 'collecting'), 1, 2, 3)
    await signed(await message(id, 'deposit', 'collecting'), 1, 3)
    for (const index of [2, 4]) await seen(`node${index}`, index, 3)
    expect(await says(key)).toEqual(['NODE_SILENT 2,4', 'BEING_FINISHED'])
  })

  it('that nobody asks for any more is expired, or was superseded; a new one beside an old one counts', async () => {
    const expired = await take()
    await message(expired.id, 'exit', 'expired')
    await message(expired.id, 'deposit', 'expired')
    expect(await says(expired.key)).toEqual(['EXPIRED'])
    const { key, id } = await take()
    await message(id, 'exit', 'superseded', { index: 6 })
    expect(await says(key)).toEqual(['SUPERSEDED'])
    await message(id, 'exit', 'collecting', { index: 7 })
    expect(await explain(url, key, as('admin'))).toMatchObject({
      verdict: { code: 'NODE_NEVER_SEEN' },
      exit: { superseded: 1, validator_index: 7 },
    })
  })

  it('bound to another vault says so, and only that', async () => {
    const { key, id } = await take()
    await message(id, 'exit', 'expired')
    await query(`insert into deposit_bindings (validator_id, vault) values ($1, $2)`, [id, B])
    expect(await says(key)).toEqual(['BOUND_ELSEWHERE', 'EXPIRED'])
    const { text } = await ask(url, pathOf(key), { headers: as('a') })
    expect(text.toLowerCase()).not.toContain(B.toString('hex'))
  })

  it('that is signed waits for an oracle set, for its shares, and for those of a new one', async () => {
    const { key, id } = await take()
    const exit = await message(id, 'exit', 'ready')
    await signed(exit, 1, 2, 3)
    await query(`update oracle_sets set is_current = false`)
    expect(await says(key)).toEqual(['ORACLE_SET_MISSING'])
    const first = await adopt('first', 10, 10_000)
    expect(await says(key)).toEqual(['BEING_SPLIT'])
    await split(exit, first)
    expect(await says(key)).toEqual(['READY'])
    const second = await adopt('second', 20, 100)
    expect(await says(key)).toEqual(['SPLIT_ANEW'])
    await split(exit, second)
    const deposit = await message(id, 'deposit', 'collecting')
    await signed(deposit, 1, 2, 3)
    expect(await says(key)).toEqual(['BEING_FINISHED'])
    await query(`update messages set state = 'ready', signature = $2 where id = $1`, [deposit, randomBytes(96)])
    expect(await says(key)).toEqual(['READY'])
  })

  it('that has a deposit waits for the chain; registered it is done, until the oracles change', async () => {
    const { key, id } = await take()
    const set = await adopt('third', 30, 10_000)
    const exit = await message(id, 'exit', 'ready')
    await split(exit, set)
    await query(`insert into registry_validators (public_key, block_number) values ($1, 31)`, [bytes(key)])
    expect(await says(key)).toEqual(['DEPOSITED'])
    await register(id, set)
    expect(await says(key)).toEqual(['REGISTERED'])

    const { slotsPerEpoch, secondsPerSlot } = world.network
    const graceSeconds = 10 * slotsPerEpoch * secondsPerSlot
    const later = await adopt('fourth', 40, 100)
    const outdated = await explain(url, key, as('admin'))
    expect(codesOf(outdated)).toEqual(['SHARES_OUTDATED'])
    expect(outdated).toMatchObject({ oracle_set_cid: 'fourth', shares_oracle_set_cid: 'third' })
    const [force] = outdated.next.filter(({ what }) => what === 'force_exit')
    expect(Math.abs((force?.at_timestamp ?? 0) - (outdated.time - 100 + graceSeconds))).toBeLessThan(600)

    const [rotation] = await query<{ id: number }>(
      `insert into rotations (vault, oracle_set_id, nonce, state) values ($1, $2, 1, 'open') returning id::int`,
      [A, later],
    )
    await query(`insert into rotation_messages (rotation_id, place, message_id) values ($1, 0, $2)`, [
      rotation?.id,
      exit,
    ])
    await split(exit, later)
    expect(await says(key)).toEqual(['ROTATION_PREPARED', 'SHARES_OUTDATED'])
    await query(
      `update rotations set transaction_hash = $1, transaction = $1, deadline = extract(epoch from now())::bigint + 600`,
      [randomBytes(32)],
    )
    const sent = await explain(url, key, as('admin'))
    expect(codesOf(sent)).toEqual(['ROTATION_SENT', 'SHARES_OUTDATED'])
    expect(sent.next[0]?.what).toBe('rotation_deadline')
    await query(`delete from rotations`)

    await query(`update oracle_sets set announced_at = now() - make_interval(secs => $1) where cid = 'fourth'`, [
      graceSeconds + 60,
    ])
    expect(await says(key)).toEqual(['ROTATION_PREPARED', 'FORCE_EXIT_DUE'])
    await query(`update messages set state = 'expired' where id = $1`, [exit])
    expect(await says(key)).toEqual(['FORCE_EXIT_DUE'])
    await query(`update validators set exited_at = now() where id = $1`, [id])
    expect(await says(key)).toEqual(['EXITED'])
  })

  it('that is registered with a wrong index, in a wrong vault, or erased', async () => {
    const set = await adopt('fifth', 50, 10)
    const wrong = await take()
    await split(await message(wrong.id, 'exit', 'ready', { index: 6 }), set)
    await register(wrong.id, set, 8)
    expect(await says(wrong.key)).toEqual(['INDEX_WRONG'])
    const foreign = await take()
    await register(foreign.id, set, 9)
    await query(`insert into deposit_bindings (validator_id, vault) values ($1, $2)`, [foreign.id, B])
    expect(await says(foreign.key)).toEqual(['VAULT_FOREIGN'])
    const erased = await take()
    await message(erased.id, 'exit', 'erased')
    await register(erased.id, set, 10)
    expect(await says(erased.key)).toEqual(['ERASED'])
  })

  it('is told apart by nothing from a key of nobody, for who may not know of it', async () => {
    const { key, id } = await take()
    await message(id, 'exit', 'collecting')
    const nobodys = toHex(randomBytes(48))
    for (const name of ['b', 'node9'] as const) {
      const [own, none] = [
        await ask(url, pathOf(key), { headers: as(name) }),
        await ask(url, pathOf(nobodys), { headers: as(name) }),
      ]
      const without = ({ status, json }: typeof own) => ({ status, json: { ...(json as object), request_id: '' } })
      expect(own.status).toBe(404)
      expect(without(own)).toEqual(without(none))
    }
    for (const name of ['a', 'any', 'admin', 'nodes', 'node1'] as const)
      expect((await ask(url, pathOf(key), { headers: as(name) })).status, name).toBe(200)
    expect(await ask(url, pathOf(key), { headers: as('oracle') })).toMatchObject({ status: 403 })
    expect(await ask(url, pathOf(key))).toMatchObject({ status: 401 })
    // A vault on chain counts before any other.
    await register(id, null)
    await query(`update validators set beacon_vault = $2 where id = $1`, [id, B])
    expect((await ask(url, pathOf(key), { headers: as('a') })).status).toBe(404)
    expect((await ask(url, pathOf(key), { headers: as('b') })).status).toBe(200)
  })

  it('tells a node of its own share alone', async () => {
    const { key, id } = await take()
    const exit = await message(id, 'exit', 'collecting')
    await signed(exit, 2)
    await candidate(exit, 3, 'rejected')
    const missing = await explain(url, key, as('node1'))
    expect(codesOf(missing)[0]).toBe('NODE_NEVER_SEEN 1')
    expect(codesOf(missing)).toContain('OTHER_NODES')
    await signed(exit, 1)
    const given = await explain(url, key, as('node1'))
    expect(codesOf(given)).toEqual(['OTHER_NODES'])
    expect(given.shares.map(({ share_index: index }) => index)).toEqual([1])
    expect((await explain(url, key, as('nodes'))).shares).toHaveLength(4)
  })

  it.each([['0x12'], ['me'], [`0x${'g'.repeat(96)}`], [`0x${'11'.repeat(49)}`], ['%00']])(
    'of a key like %j is not asked for',
    async (key) => {
      const answer = await ask(url, pathOf(key), { headers: as('admin') })
      expect(answer).toMatchObject({ status: 422, json: { code: 'PATH_INVALID' } })
    },
  )

  it('is answered so many times at once for one caller, and no more', async () => {
    const { key } = await take()
    await query('begin')
    // Whoever looks at a validator waits.
    await query('lock table validators in access exclusive mode')
    const statuses: number[] = []
    const asked = Array.from({ length: 20 }, async () => {
      const { status } = await ask(url, pathOf(key), { headers: as('admin') })
      statuses.push(status)
    })
    await eventually('the refusals', async () => (statuses.length >= 3 ? true : undefined))
    const other = ask(url, pathOf(key), { headers: as('any') })
    await query('rollback')
    await Promise.all(asked)
    expect(statuses.toSorted((one, two) => two - one)).toEqual([503, 503, 503, ...Array<number>(17).fill(200)])
    expect((await other).status).toBe(200)
  })

  describe('by the command', () => {
    async function run(...args: string[]) {
      const process = startProcess('relayer', world.environment({ ...environment, LOG_LEVEL: 'error' }), [
        'explain',
        ...args,
      ])
      return { code: await process.ended, text: process.output() }
    }

    it('is the same, as JSON and in words, and changes nothing', async () => {
      const { key, id } = await take()
      await signed(await message(id, 'exit', 'collecting'), 1, 2)
      await seen('node3', 3, 500)
      await seen('node4', 4, 500)
      const answer = await explain(url, key, as('admin'))
      const { code, text } = await run(key, '--json')
      expect(code).toBe(0)
      const printed = JSON.parse(text) as Explanation
      expect(printed.time).toBeGreaterThanOrEqual(answer.time)
      expect({ ...printed, time: 0 }).toEqual({ ...answer, time: 0 })

      const words = await run(key)
      expect(words.code).toBe(0)
      for (const part of [
        'NODE_AWAY: ',
        '(share indexes 3, 4)',
        'who has to act: who runs these nodes',
        'docs/operating/runbook.md#a-node-is-missing',
        'share 1: exit verified at ',
        'share 4: exit missing; node away, seen at ',
        'it expires, unless an operator asks again',
      ])
        expect(words.text).toContain(part)
    })

    it('says which way a node came, and what one without a sidecar runs', async () => {
      const { key, id } = await take()
      await message(id, 'exit', 'collecting')
      await comesInItsWay()
      const { text } = await run(key)
      for (const part of [
        'NODE_RUNS_CHARON: ',
        /share 1: .* node there, seen at .* ago\), by its token\n/,
        /share 2: .* node away, seen at .* ago\), by charon's key\n/,
        /share 3: .* ago\), by charon, without a sidecar\n {2}without a sidecar: charon exit sign --all --exit-epoch=0 /,
      ])
        expect(text).toMatch(part)
    })

    it('of nobody is said to be not known, with 1; what is no key is a usage error', async () => {
      const nobodys = toHex(randomBytes(48))
      const unknown = await run(nobodys, '--json')
      expect(unknown.code).toBe(1)
      expect(JSON.parse(unknown.text)).toMatchObject({
        public_key: nobodys,
        verdict: { code: 'KEY_UNKNOWN' },
        shares: [],
      })
      for (const args of [[], ['0x12'], [nobodys, nobodys], [nobodys, '--jason']])
        expect(await runCommand(['explain', ...args], environment, () => {})).toBe(1)
    })

    it('without a database of a relayer makes none', async () => {
      const { DATABASE_URL: _, ...rest } = world.environment({ SIGNATURE_THRESHOLD: '1', LOG_LEVEL: 'error' })
      const dir = join(world.dir, 'nothing-here')
      const process = startProcess('relayer', { ...rest, DATA_DIR: dir }, ['explain', toHex(randomBytes(48))])
      expect(await process.ended).toBe(1)
      expect(process.output()).toContain('there is no database of a relayer')
    })
  })
})
