/** Rotation by hand (`POST /vaults/{vault}/rotation`): which validators, which exits, whose approvals, and the end on chain. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RotationResponse, RotationUpdate } from '@dvt-relayer/api/schemas.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Hex } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createToken } from '../../../apps/relayer/src/http/auth/tokens.ts'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { sendTransaction } from '../../support/contracts/transactions.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { query, settings } from '../../support/stages/manager.ts'
import {
  addRegistered,
  announceOracles,
  type Manner,
  type RotationOracle,
  someVault,
  startRotationOracle,
} from '../../support/stages/rotation.ts'
import { assertOraclesCanExit, getExits, type KeyedValidator, sidecarRound } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { type Answer, ask, eventually } from '../../support/world/world.ts'

const ORACLES = 7
const NEEDED = 4
const THRESHOLD = 3
const VAULT = someVault(0xa1)

describe.skipIf(skipWithoutAnvil)('a rotation', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let relayer: Relayer
  let oracles: RotationOracle[]
  let validators: KeyedValidator[]
  let indexes: number[]

  const rotate = (vault: string = VAULT): Promise<Answer> =>
    ask(relayer.url, `/vaults/${vault}/rotation`, { method: 'POST' })
  const state = async (): Promise<RotationResponse> =>
    (await ask(relayer.url, `/vaults/${VAULT}/rotation`)).json as RotationResponse
  const behave = (...manners: Manner[]) => {
    for (const [position, oracle] of oracles.entries()) oracle.manner = manners[position] ?? 'honest'
  }
  const say = (outdated: number[], more: { block?: number; nonce?: number } = {}) => {
    for (const oracle of oracles) Object.assign(oracle, { outdated, ...more })
  }
  const sign = async () => {
    for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, validators, share)
  }
  const untilUpdate = () =>
    eventually('an update', async () => {
      const answer = await rotate()
      if (answer.status === 200) return answer.json as RotationUpdate
      if (answer.status === 409 && answer.text.includes('ROTATION_COLLECTING')) return undefined
      throw new Error(`${answer.status} ${answer.text}`)
    })
  const useOracles = async () => {
    const cid = await announceOracles(world, oracles, { threshold: THRESHOLD, needed: NEEDED })
    // Who starts looks at once.
    await using fresh = await world.startRelayer({ ...settings, ROLE: 'api' })
    await eventually('the oracle set', async () =>
      (await ask(fresh.url, '/vaults')).text.includes(cid) ? true : undefined,
    )
  }

  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    oracles = []
    for (let i = 0; i < ORACLES; i++) oracles.push(resources.use(await startRotationOracle(world.network)))
    await announceOracles(world, oracles, { threshold: THRESHOLD, needed: NEEDED })
    await world.anvil.mine(4)
    relayer = resources.use(await world.startRelayer(settings))
    validators = createTestKeys(3, { nodes: 4, threshold: 3 })
    indexes = []
    for (const validator of validators) indexes.push(await addRegistered(world, VAULT, validator))
    await eventually('the oracle set', async () =>
      (await query(world, 'select 1 from oracle_sets')).length > 0 ? true : undefined,
    )
  }, 300_000)
  afterAll(() => resources.disposeAsync())

  it('is none while nothing is outdated, and needs enough oracles that are not behind', async () => {
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'ROTATION_NOTHING' } })
    // Three name it: that could not be approved.
    for (const oracle of oracles.slice(0, NEEDED - 1)) oracle.outdated = [indexes[0] ?? 0]
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'ROTATION_NOTHING' } })
    behave('refusing', 'redirect', 'huge')
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'ROTATION_NOTHING' } })
    behave('stale', 'redirect', 'huge', 'redirect')
    const answer = await rotate()
    expect(answer).toMatchObject({ status: 503, json: { code: 'ROTATION_UNLEARNT' } })
    expect(answer.text).toContain('4 are needed')
    expect((await query(world, 'select 1 from messages')).length).toBe(0)
    behave()
  })

  it('collects exits at real indexes, of active validators of ours alone', async () => {
    const [exiting, foreign, strange] = createTestKeys(3, { nodes: 4, threshold: 3 })
    const others = [
      await addRegistered(world, VAULT, exiting ?? fail(), { status: 'active_exiting' }),
      await addRegistered(world, VAULT, foreign ?? fail(), { credentials: someVault(0xb2) }),
      world.beacon.addValidator({ publicKey: strange?.publicKey ?? fail() }),
      world.beacon.validatorCount + 1000,
    ]
    world.beacon.finalize()
    // One was predicted at another index, and signed for that.
    const first = validators[0] ?? fail()
    await query(
      world,
      `insert into messages (validator_id, kind, validator_index, epoch, signing_root, threshold, state)
       select id, 'exit', 5, 0, sha256('other'), 3, 'collecting' from validators where public_key = $1`,
      [Buffer.from(first.publicKey)],
    )
    // The oracles know better than we do what the chain has.
    const keys = validators.map(({ publicKey }) => Buffer.from(publicKey))
    await query(
      world,
      'update validators set oracle_set_id = (select id from oracle_sets where is_current) where public_key = any($1)',
      [keys],
    )
    say([...others, ...indexes])
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'ROTATION_COLLECTING' } })
    const exits = await getExits(relayer.url)
    expect(exits.map((exit) => [exit.public_key, exit.validator_index]).toSorted()).toEqual(
      validators.map(({ publicKey }, position) => [toHex(publicKey), indexes[position]]).toSorted(),
    )
    expect(await state()).toMatchObject({
      state: 'collecting',
      validators: indexes.map((validator_index) => ({ validator_index, state: 'collecting' })),
      nonce: null,
      last: null,
    })
    expect(oracles.flatMap(({ asked }) => asked)).toEqual([])
  })

  let update: RotationUpdate

  it('is approved by enough honest oracles, whatever the others say', async () => {
    await sign()
    behave('other_hash', 'other_key', 'slow')
    update = await untilUpdate()
    expect(update).toMatchObject({ nonce: 0, to: world.keeper.address })
    expect(update.validators.map((item) => item.validator_index)).toEqual(indexes)
    expect(await state()).toMatchObject({ state: 'prepared', nonce: 0, ipfs_hash: update.ipfs_hash })
    const [body] = oracles[3]?.asked ?? []
    for (const [position, validator] of validators.entries()) {
      const shares = {
        public_keys: body?.public_key_shards[position] ?? [],
        encrypted_exit_signatures: body?.exit_signature_shards[position] ?? [],
      }
      expect(body?.public_keys[position]).toBe(toHex(validator.publicKey))
      await assertOraclesCanExit(
        world.network,
        oracles,
        THRESHOLD,
        validator.publicKey,
        indexes[position] ?? -1,
        shares,
      )
    }
  })

  it('asked again, by another process too, hands in the same bytes', async () => {
    await using second = await world.startRelayer({ ...settings, ROLE: 'api' })
    const path = `/vaults/${VAULT.toLowerCase()}/rotation`
    const again = (await ask(second.url, path, { method: 'POST' })).json as RotationUpdate
    expect(again.ipfs_hash).toBe(update.ipfs_hash)
    const bodies = (oracles[3]?.asked ?? []).map(({ deadline: _, ...content }) => JSON.stringify(content))
    expect(bodies.length).toBeGreaterThan(1)
    expect(new Set(bodies).size).toBe(1)
    expect(await query(world, 'select state from rotations')).toEqual([{ state: 'open' }])
  })

  it('waits while too few approve', async () => {
    behave('other_hash', 'other_hash', 'other_hash', 'other_deadline')
    const answer = await rotate()
    expect(answer).toMatchObject({ status: 503, json: { code: 'ROTATION_UNAPPROVED' } })
    expect(answer.text).toContain('3 of 7 oracles approve the same update, and 4 are needed')
    behave()
  })

  it('that the Keeper would not take is not handed out', async () => {
    for (const oracle of oracles) oracle.nonce = 0
    // The Keeper knows other oracles for a moment than the config names.
    await world.keeper.setOracles([someVault(1), someVault(2), someVault(3), someVault(4)], NEEDED)
    expect(await rotate()).toMatchObject({ status: 503, json: { code: 'ROTATION_UNAPPROVED' } })
    await world.keeper.setOracles(
      oracles.map(({ address }) => address),
      NEEDED,
    )
  })

  it('ends when its update is final, and not before', async () => {
    update = await untilUpdate()
    const to = update.to as Hex
    const outcome = await sendTransaction(world.anvil, { to, data: update.data as Hex }, world.keeper.abi)
    expect(outcome).toMatchObject({ ok: true })
    const block = outcome.ok ? outcome.blockNumber : 0
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'ROTATION_SENT' } })
    expect((await state()).state).toBe('prepared')
    await world.anvil.mine(4)
    // Oracles that have not seen the update are not believed any more; the others have nothing to say.
    expect(await rotate()).toMatchObject({ status: 503, json: { code: 'ROTATION_UNLEARNT' } })
    expect(await state()).toMatchObject({
      state: 'idle',
      validators: [],
      last: { state: 'done', nonce: 0, ipfs_hash: update.ipfs_hash },
    })
    const renewed = await query<{ index: number }>(
      world,
      `select beacon_index::int as index from validators v join oracle_sets o on o.id = v.oracle_set_id and o.is_current order by 1`,
    )
    expect(renewed.map(({ index }) => index)).toEqual(indexes)
    say([], { block, nonce: 1 })
    expect(await rotate()).toMatchObject({ status: 409, json: { code: 'ROTATION_NOTHING' } })
    expect(await world.keeper.nonce(VAULT)).toBe(1)
  })

  it('of new oracles splits anew what is kept, and what was handed out before is noted when it is final after all', async () => {
    const before = await query<{ id: number }>(world, 'select id from oracle_sets where is_current')
    oracles.push(resources.use(await startRotationOracle(world.network)))
    const [, , , , fourth] = oracles
    say(indexes, { block: fourth?.block ?? 0, nonce: 1 })
    await useOracles()
    const first = await untilUpdate()
    expect(first.ipfs_hash).not.toBe(update.ipfs_hash)
    // The oracles change again before it was sent: a new one begins.
    oracles.push(resources.use(await startRotationOracle(world.network)))
    say(indexes, { block: fourth?.block ?? 0, nonce: 1 })
    await useOracles()
    const second = await untilUpdate()
    expect(second.ipfs_hash).not.toBe(first.ipfs_hash)
    expect(await query(world, 'select state, nonce::int from rotations order by id')).toEqual([
      { state: 'done', nonce: 0 },
      { state: 'void', nonce: 1 },
      { state: 'open', nonce: 1 },
    ])
    const call = { to: first.to as Hex, data: first.data as Hex }
    expect(await sendTransaction(world.anvil, call, world.keeper.abi)).toMatchObject({ ok: true })
    await world.anvil.mine(4)
    await rotate()
    expect(await query(world, 'select state from rotations order by id')).toEqual([
      { state: 'done' },
      { state: 'done' },
      { state: 'void' },
    ])
    const sets = await query<{ id: number }>(
      world,
      'select distinct oracle_set_id as id from validators where public_key = any($1)',
      [validators.map(({ publicKey }) => Buffer.from(publicKey))],
    )
    expect(sets).toHaveLength(1)
    expect(sets[0]?.id).not.toBe(before[0]?.id)
  })

  it('of some keeps not waiting for others whose nodes are gone, and takes those that are not active yet', async () => {
    const vault = someVault(0xc3)
    const many = createTestKeys(5, { nodes: 4, threshold: 3 })
    const found: number[] = []
    for (const [position, validator] of many.entries())
      found.push(await addRegistered(world, vault, validator, position === 4 ? { status: 'pending_queued' } : {}))
    const { block } = oracles[0] ?? fail()
    say(found, { block, nonce: 0 })
    const cid = await announceOracles(world, oracles, { threshold: THRESHOLD, needed: NEEDED, limit: 2 })
    await eventually('the oracle set', async () =>
      (await ask(relayer.url, '/vaults')).text.includes(cid) ? true : undefined,
    )
    expect(await rotate(vault)).toMatchObject({ status: 409, json: { code: 'ROTATION_COLLECTING' } })
    // The first batch by index would be of nodes that never sign.
    for (const share of [1, 2, 3]) await sidecarRound(relayer.url, world.network, many.slice(3), share)
    const ready = await eventually('an update', async () => {
      const answer = await rotate(vault)
      return answer.status === 200 ? (answer.json as RotationUpdate) : undefined
    })
    expect(ready.validators).toEqual(
      many
        .slice(3)
        .map(({ publicKey }, position) => ({ public_key: toHex(publicKey), validator_index: found[position + 3] })),
    )
  }, 300_000)

  it('is for callers of this machine alone where there is a wallet and no tokens', async () => {
    const { keyFile, passwordFile } = world.manager
    const wallet = { ROTATION_WALLET_KEY_FILE: keyFile, ROTATION_WALLET_PASSWORD_FILE: passwordFile }
    await using paying = await world.startRelayer({ ...settings, ...wallet, ROLE: 'api' })
    const path = `/vaults/${someVault(9)}/rotation`
    expect(await ask(paying.url, path, { method: 'POST', headers: { via: 'x' } })).toMatchObject({
      status: 403,
      json: { code: 'MANAGER_LOCAL_ONLY' },
    })
    expect(await ask(paying.url, path, { method: 'POST' })).toMatchObject({ json: { code: 'ROTATION_NOTHING' } })
  })

  it('is for the operator of its vault, and for vaults of ours', async () => {
    const [own, other] = [createToken('own', 'operator', VAULT), createToken('other', 'operator', someVault(2))]
    const sidecar = createToken('node', 'sidecar', '*')
    const file = join(world.dir, 'rotation-tokens')
    await writeFile(file, [own, other, sidecar].map(({ line }) => line).join('\n'))
    const vaults = { VAULTS: `${VAULT},${someVault(2)}` }
    await using closed = await world.startRelayer({ ...settings, ...vaults, ROLE: 'api', AUTH_TOKENS_FILE: file })
    const as = async (method: string, vault: string, token: { token: string } | undefined) => {
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token.token}` }
      return (await ask(closed.url, `/vaults/${vault}/rotation`, { method, headers })).status
    }
    expect(await as('GET', VAULT, own)).toBe(200)
    for (const method of ['GET', 'POST']) {
      expect(await as(method, VAULT, undefined)).toBe(401)
      expect(await as(method, VAULT, sidecar)).toBe(403)
      expect(await as(method, VAULT, other)).toBe(403)
      expect(await as(method, VAULT.toLowerCase().replace('a', 'A'), own)).toBe(422)
      expect(await as(method, '0x12', own)).toBe(422)
    }
    await using open = await world.startRelayer({ ...settings, ...vaults, ROLE: 'api' })
    expect(await ask(open.url, `/vaults/${someVault(9)}/rotation`, { method: 'POST' })).toMatchObject({
      status: 422,
      json: { code: 'VAULT_UNKNOWN' },
    })
  })
})

function fail(): never {
  throw new Error('not there')
}
