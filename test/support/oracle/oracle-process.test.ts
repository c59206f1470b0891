import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, exitSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { createFastEcies } from '@dvt-relayer/crypto/oracle/ecies.ts'
import { splitExitSignature } from '@dvt-relayer/crypto/oracle/oracle-split.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skipWithoutAnvil } from '../chain/anvil.ts'
import type { Vault } from '../contracts/vault.ts'
import { createTestKeys } from '../keys/keys.ts'
import { signValidators } from '../keys/manager-wallet.ts'
import type { RegisterAnswer } from '../operator/operator.ts'
import { approvalRequest, gatherApprovals, registerWithApproval } from '../operator/operator-approvals.ts'
import { programFile } from '../runner/programs.ts'
import { startProgram } from '../services/process.ts'
import { engine, type KeyedValidator } from '../world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../world/vault-world.ts'
import { ask } from '../world/world.ts'
import { type OracleProcess, startOracles } from './oracle-process.ts'

const GWEI = 32_000_000_000n
const ecies = createFastEcies()
const keys = createTestKeys(2, { nodes: 1, threshold: 1 })

let world: VaultWorld
let oracles: OracleProcess[]
let vault: Vault
let firstIndex = 0
const cleanup = new AsyncDisposableStack()
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = cleanup.use(await startVaultWorld({ validators: 10 }))
  oracles = await startOracles(world, 4)
  for (const oracle of oracles) cleanup.use(oracle)
  await announce(oracles.slice(0, 3), 2)
  vault = await world.deployVault({ keeper: world.keeper })
  firstIndex = world.beacon.validatorCount
})
afterAll(() => cleanup.disposeAsync())

/** Announces a set of which two must sign. */
async function announce(set: readonly OracleProcess[], threshold: number): Promise<string> {
  const addresses = set.map(({ address }) => address)
  expect(await world.keeper.setOracles(addresses, 2)).toMatchObject({ ok: true })
  return world.announce(set, threshold)
}

/** What a relayer would have split for a set of oracles. */
function splitFor(
  set: readonly OracleProcess[],
  threshold: number,
  { publicKey, secretKey }: KeyedValidator,
  validatorIndex: number,
) {
  const message = exitSigningRoot(world.network, { epoch: world.network.capellaEpoch, validatorIndex })
  const signature = engine.sign(secretKey, message)
  const split = splitExitSignature(engine, { message, signature, publicKey, threshold, oracles: set.length })
  return {
    public_keys: split.publicKeyShares.map((share) => toHex(share)),
    encrypted_exit_signatures: split.signatureShares.map((share, position) =>
      toHex(ecies.encrypt(set[position]?.publicKey ?? new Uint8Array(), share)),
    ),
  }
}

/** What a relayer would answer for the keys. */
async function answerFor(set: readonly OracleProcess[], threshold: number): Promise<RegisterAnswer> {
  const validators = keys.map((key, position) => {
    const credentials = withdrawalCredentials('0x01', fromHex(vault.address, 20))
    const message = { publicKey: key.publicKey, withdrawalCredentials: credentials, amountGwei: GWEI }
    return {
      public_key: toHex(key.publicKey),
      amount: Number(GWEI),
      deposit_signature: toHex(engine.sign(key.secretKey, depositSigningRoot(world.network, message))),
      exit_signature: null,
      oracles_exit_signature_shares: splitFor(set, threshold, key, firstIndex + position),
    }
  })
  const answer = { validators, validators_manager_signature: null }
  const { validators_root: root, validators: bytes } = await approvalRequest(vault, '0x01', answer, firstIndex, 1)
  const domain = { chainId: 31_337, vault: vault.address }
  const signature = await signValidators(world.manager.privateKey, domain, { root, validators: bytes })
  return { ...answer, validators_manager_signature: signature }
}

/** A request for new shares. */
function updateRequest(set: readonly OracleProcess[], threshold: number, indexes = [firstIndex, firstIndex + 1]) {
  const shares = keys.map((key, position) => splitFor(set, threshold, key, indexes[position] ?? 0))
  return {
    vault_address: vault.address,
    public_keys: keys.map(({ publicKey }) => toHex(publicKey)),
    public_key_shards: shares.map((set) => set.public_keys),
    exit_signature_shards: shares.map((set) => set.encrypted_exit_signatures),
    deadline: Math.floor(Date.now() / 1000) + 100,
  }
}
type UpdateRequest = ReturnType<typeof updateRequest>

const one = () => oracles[1] as OracleProcess
const post = async (request: object, path = '/signatures', oracle = one()) => {
  const { status, json } = await ask(oracle.url, path, { body: request })
  return [status, (json as { error?: string }).error]
}
const outdated = async (oracle = one()) => (await ask(oracle.url, `/signatures/${vault.address.toLowerCase()}`)).json

describe.skipIf(skipWithoutAnvil)('oracles as processes', () => {
  it('approve a registration whose shares are right, and the vault takes it', async () => {
    const set = oracles.slice(0, 3)
    const answer = await answerFor(set, 2)
    const deadline = Math.floor(Date.now() / 1000) + 100
    const wrongIndex = await approvalRequest(vault, '0x01', answer, firstIndex + 1, deadline)
    expect(await post(wrongIndex, '/validators')).toEqual([
      400,
      expect.stringContaining('not valid under its public key'),
    ])
    const request = await approvalRequest(vault, '0x01', answer, firstIndex, deadline)
    expect(await post({ ...request, public_keys: request.public_keys.toReversed() }, '/validators')).toEqual([
      400,
      'other validators are to be registered',
    ])
    expect(await post(request, '/validators', oracles[3])).toEqual([400, 'I am no oracle of the newest config'])
    expect(await post(updateRequest(set, 2))).toEqual([400, 'I know no such vault'])
    expect(await registerWithApproval(vault, '0x01', answer, firstIndex, set, 2)).toMatchObject({
      ok: true,
      events: expect.arrayContaining([expect.objectContaining({ name: 'ValidatorsApproval' })]),
    })
    await world.beaconFollows.sync()
    expect(await outdated()).toEqual({ exit_signature_block_number: 0, validators: [] })
    expect(await post(request, '/validators')).toEqual([400, 'a validator is registered already'])
  })

  it('say what is outdated once registration is final and another config is announced', async () => {
    await announce(oracles.slice(1), 3)
    await world.anvil.mine(2)
    const validators = [{ index: firstIndex }, { index: firstIndex + 1 }]
    expect(await outdated()).toEqual({ exit_signature_block_number: 0, validators })
    // The new member has read the chain from its beginning.
    expect(await outdated(oracles[3])).toEqual({ exit_signature_block_number: 0, validators })
    expect(await outdated(oracles[0])).toEqual({ error: 'I am no oracle of the newest config' })
  })

  const invalid: [what: string, reason: string, change: (request: UpdateRequest) => object][] = [
    ['a wrong index', 'not valid under', () => updateRequest(oracles.slice(1), 3, [firstIndex, firstIndex + 7])],
    ['a lower threshold', 'fewer public key shares', () => updateRequest(oracles.slice(1), 2)],
    ['shares for other oracles', 'cannot be decrypted', () => updateRequest(oracles.slice(0, 3), 3)],
    ['shares for fewer oracles', 'there are not 3 shares', () => updateRequest(oracles.slice(1, 3), 2)],
    [
      'a tampered share',
      'cannot be decrypted',
      (request) => ({
        ...request,
        exit_signature_shards: request.exit_signature_shards.map((shards) =>
          shards.map((shard) => `${shard.slice(0, -1)}${shard.endsWith('0') ? '1' : '0'}`),
        ),
      }),
    ],
    [
      'a public key share of another set',
      'do not give the validator key',
      (request) => {
        const other = updateRequest(oracles.slice(1), 3).public_key_shards
        return {
          ...request,
          public_key_shards: request.public_key_shards.map((shards, position) => [
            shards[0],
            shards[1],
            other[position]?.[2],
          ]),
        }
      },
    ],
    [
      'a public key share that is no point',
      'not a point',
      (request) => ({
        ...request,
        public_key_shards: request.public_key_shards.map(([first, second]) => [
          first,
          second,
          `0xc0${'00'.repeat(47)}`,
        ]),
      }),
    ],
    [
      'shares in another order',
      'not valid under',
      (request) => ({
        ...request,
        public_key_shards: request.public_key_shards.map((shards) => shards.toReversed()),
      }),
    ],
    ['a deadline that is over', 'is over', (request) => ({ ...request, deadline: request.deadline - 200 })],
    ['a deadline too far away', '120 seconds', (request) => ({ ...request, deadline: request.deadline + 200 })],
    ['another vault', 'no such vault', (request) => ({ ...request, vault_address: world.keeper.address })],
    [
      'a validator twice',
      'twice',
      (request) => ({ ...request, public_keys: request.public_keys.map(() => request.public_keys[0]) }),
    ],
    [
      'lists of different lengths',
      'different lengths',
      (request) => ({ ...request, public_keys: request.public_keys.slice(1) }),
    ],
    [
      'an unknown validator',
      'no such validator',
      (request) => ({
        ...request,
        public_keys: [
          toHex(createTestKeys(1, { nodes: 1, threshold: 1 })[0]?.publicKey ?? new Uint8Array()),
          request.public_keys[1],
        ],
      }),
    ],
  ]
  it.each(invalid)('refuse %s', async (_, reason, change) => {
    expect(await post(change(updateRequest(oracles.slice(1), 3)))).toEqual([400, expect.stringContaining(reason)])
  })

  it('refuse a validator whose withdrawal credentials are not the vault’s', async () => {
    const { index } = world.beacon.findValidator(keys[0]?.publicKey ?? 0) ?? { index: -1 }
    world.beacon.setValidator(index, { withdrawalCredentials: withdrawalCredentials('0x01', new Uint8Array(20)) })
    const request = updateRequest(oracles.slice(1), 3)
    expect(await post(request)).toEqual([400, 'a validator is not of this vault'])
    world.beacon.setValidator(index, {
      withdrawalCredentials: withdrawalCredentials('0x01', fromHex(vault.address, 20)),
    })
  })

  it('behave as they are told: down, slow, approving something else, making up what is outdated', async () => {
    const [, , second, third] = oracles
    const request = updateRequest(oracles.slice(1), 3)
    await one().behave({ down: true })
    await expect(post(request)).rejects.toThrow()
    await one().behave({ outdated: [1, 2] })
    expect(await outdated()).toEqual({ exit_signature_block_number: 0, validators: [{ index: 1 }, { index: 2 }] })
    await one().behave({ other: true })
    await second?.behave({ slowMs: 300 })
    const started = performance.now()
    const approvals = [one(), second, third].flatMap((oracle) => oracle ?? [])
    await expect(gatherApprovals(approvals, '/signatures', request, 3)).rejects.toThrow('not approved')
    expect(performance.now() - started).toBeGreaterThan(300)
    await one().behave({})
    await second?.behave({})
  })

  it('approve new shares, and the Keeper takes them; what is final is outdated no more', async () => {
    const set = oracles.slice(1)
    const approval = await gatherApprovals(set, '/signatures', updateRequest(set, 3), 2)
    const outcome = await world.keeper.update(vault.address, approval)
    expect(outcome).toMatchObject({ ok: true })
    const validators = [{ index: firstIndex }, { index: firstIndex + 1 }]
    expect(await outdated()).toMatchObject({ validators })
    await world.anvil.mine(2)
    const [update] = await world.keeper.updates(vault.address)
    expect(await outdated()).toEqual({ exit_signature_block_number: update?.blockNumber, validators: [] })
    // The nonce has moved on: signatures of now are for the next update.
    expect(await world.keeper.update(vault.address, approval)).toEqual({ ok: false, error: 'InvalidOracle' })
    expect(await world.keeper.nonce(vault.address)).toBe(1)
  })

  it('end with the process that started them', async () => {
    const program = startProgram('oracle', [programFile('test/support/oracle/main.ts')], {
      NETWORK: world.networkFile,
      EXECUTION_ENDPOINT: world.anvil.url,
      CONSENSUS_ENDPOINT: world.beacon.url,
      IPFS_ENDPOINT: world.ipfs.url,
      ORACLE_KEY: toHex(oracles[0]?.secretKey ?? new Uint8Array()),
    })
    await program.logged('oracle started')
    program.child.stdin?.end()
    expect(await program.ended).toBe(0)
  })
})
