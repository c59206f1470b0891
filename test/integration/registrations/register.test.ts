/** Registrations as Operator 4.2 and the vault see them: answers, bytes, what the chain takes, and what is refused (generation 4). */

import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { RegisterResponse } from '@dvt-relayer/api/schemas.ts'
import { RegisterResponse as RegisterResponseSchema } from '@dvt-relayer/api/schemas.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot, withdrawalCredentials } from '@dvt-relayer/crypto/messages/messages.ts'
import { Compile } from 'typebox/compile'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { PATIENCE_MS } from '../../../apps/relayer/src/context.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { isValidDeposit } from '../../support/chain/follow-deposits.ts'
import { startHttpStandIn } from '../../support/chain/http-stand-in.ts'
import { startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { isReady, nextIndex, register, registerOnChain, registerUntilReady } from '../../support/operator/operator.ts'
import {
  askRegister,
  clusterFor,
  ETH32,
  keysOf,
  NOTHING,
  openStage,
  signAll,
} from '../../support/stages/registrations.ts'
import { assertOraclesCanExit, engine, getExits, getValidators, postValidators } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

let world: VaultWorld
beforeAll(async () => {
  if (!skipWithoutAnvil) world = await startVaultWorld({ oracles: 5, threshold: 3 })
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** A vault, a cluster whose lock names it, and a relayer that has the lock. */
async function setUp(validators: number, settings: Record<string, string> = {}) {
  const vault = await world.deployVault()
  const cluster = await clusterFor(world, vault, { validators })
  const stage = await openStage(world)
  const relayer = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile, ...settings })
  return { vault, cluster, stage, url: relayer.url, relayer }
}

/** A validly signed deposit of a key that is nobody's, as any other staker makes it. */
async function depositOfAnother(isValid = true): Promise<void> {
  const [key] = createTestKeys(1, { nodes: 1, threshold: 1 })
  if (key === undefined) throw new Error('no key')
  const message = {
    publicKey: key.publicKey,
    withdrawalCredentials: withdrawalCredentials('0x01', new Uint8Array(20).fill(7)),
    amountGwei: BigInt(ETH32),
  }
  const root = isValid ? depositSigningRoot(world.network, message) : new Uint8Array(32)
  const outcome = await depositBySomebodyElse(world.anvil, world.depositContract, {
    ...message,
    signature: engine.sign(key.secretKey, root),
  })
  expect(outcome).toMatchObject({ ok: true })
}

describe.skipIf(skipWithoutAnvil)('a registration', () => {
  it.each([
    ['0x01', [ETH32, ETH32, ETH32]],
    ['0x02', [2_048_000_000_000, ETH32, 33_000_000_001]],
  ] as const)('of type %s goes from the first request to validators on chain', async (type, amounts) => {
    const { vault, cluster, url } = await setUp(3)
    const startIndex = nextIndex(world.beacon)
    const request = { vault: vault.address, startIndex, amounts, type }
    const keys = keysOf(cluster.validators)
    const first = await askRegister(url, request)
    expect(first.headers.get('content-type')).toMatch(/^application\/json/)
    const item = (key: string, position: number) =>
      `{"public_key":"${key}","amount":${amounts[position]},"deposit_signature":null,"exit_signature":null,"oracles_exit_signature_shares":null,"receipt":null}`
    expect(first.text).toBe(`{"validators":[${keys.map(item).join(',')}],"validators_manager_signature":null}`)

    await signAll(world, url, cluster.validators, [3, 1])
    expect(isReady(await register(url, request))).toBe(false)
    await signAll(world, url, cluster.validators, [4])
    const answer = await registerUntilReady(url, request)
    const credentials = withdrawalCredentials(type, fromHex(vault.address, 20))
    for (const [position, validator] of answer.validators.entries()) {
      expect(validator).toMatchObject({ public_key: keys[position], amount: amounts[position], exit_signature: null })
      const publicKey = fromHex(validator.public_key, 48)
      const shares = validator.oracles_exit_signature_shares
      await assertOraclesCanExit(world.network, world.oracles, 3, publicKey, startIndex + position, shares)
      const signature = fromHex(validator.deposit_signature ?? '', 96)
      const deposit = {
        publicKey,
        withdrawalCredentials: credentials,
        amountGwei: BigInt(amounts[position] ?? 0),
        signature,
      }
      expect(isValidDeposit(world.network, deposit)).toBe(true)
    }
    expect(await registerOnChain(vault, type, answer)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    for (const [position, { publicKey }] of cluster.validators.entries())
      expect(world.beacon.findValidator(publicKey)).toMatchObject({
        index: startIndex + position,
        withdrawalCredentials: credentials,
        balanceGwei: BigInt(amounts[position] ?? 0),
      })
    // All keys are registered, so there is nothing to hand out.
    const after = await askRegister(url, { ...request, startIndex: nextIndex(world.beacon) })
    expect(after).toMatchObject({ status: 200, text: NOTHING })
  })

  it('is answered byte for byte as the protocol has it once it is ready', async () => {
    const { vault, cluster, url } = await setUp(2)
    const request = {
      vault: vault.address.toLowerCase(),
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32, ETH32],
      type: '0x01' as const,
    }
    await askRegister(url, request)
    await signAll(world, url, cluster.validators)
    await registerUntilReady(url, request)
    const { text, json } = await askRegister(url, request)
    const { validators, validators_manager_signature } = json as RegisterResponse
    expect(Compile(RegisterResponseSchema).Check(json)).toBe(true)
    const ordered = validators.map(
      ({ public_key, amount, deposit_signature, oracles_exit_signature_shares: shares, receipt }) => ({
        public_key,
        amount,
        deposit_signature,
        exit_signature: null,
        oracles_exit_signature_shares: {
          public_keys: shares?.public_keys,
          encrypted_exit_signatures: shares?.encrypted_exit_signatures,
        },
        receipt,
      }),
    )
    expect(text).toBe(JSON.stringify({ validators: ordered, validators_manager_signature }))
    // Its last field is ours: the receipt of a set that was handed out.
    for (const { receipt } of validators) expect(receipt).toMatch(/^0x[0-9a-f]{64}$/)
    // The same again is the same; the manager's signature is deterministic over the same root.
    expect((await askRegister(url, request)).text).toBe(text)
  })

  it('takes a vault in any spelling and answers it checksummed', async () => {
    const { vault, url } = await setUp(1)
    const bare = vault.address.slice(2)
    const startIndex = nextIndex(world.beacon)
    const spellings = [vault.address, bare, `0x${bare.toLowerCase()}`, `0X${bare.toUpperCase()}`]
    const texts = new Set<string>()
    for (const spelling of spellings) {
      const answer = await askRegister(url, { vault: spelling, startIndex, amounts: [ETH32], type: '0x01' })
      expect(answer.status).toBe(200)
      texts.add(answer.text)
    }
    expect(texts.size).toBe(1)
    const list = await ask(url, '/validators')
    const [item, ...others] = (list.json as { validators: Record<string, unknown>[] }).validators
    expect(others).toEqual([])
    expect(item).toMatchObject({ vault: vault.address, amount: ETH32, validator_index: startIndex })
    expect(Object.keys(item ?? {}).slice(0, 9)).toEqual([
      'vault',
      'public_key',
      'amount',
      'validator_index',
      'validator_type',
      'is_signatures_ready',
      'created_at_timestamp',
      'created_at_string',
      'share_indexes_ready',
    ])
    const flipped = [...bare].map((c) => (/[a-f]/.test(c) ? c.toUpperCase() : c.toLowerCase())).join('')
    const wrong = { vault: `0x${flipped}`, startIndex, amounts: [ETH32], type: '0x01' as const }
    expect(await askRegister(url, wrong)).toMatchObject({ status: 422, json: { code: 'VAULT_INVALID' } })
  })

  it('is complete without a wallet, but for the manager’s signature', async () => {
    const settings = { VALIDATORS_MANAGER_KEY_FILE: '', VALIDATORS_MANAGER_PASSWORD_FILE: '' }
    const { vault, cluster, url } = await setUp(1, settings)
    expect((await ask(url, '/info')).text).toBe('{"network":"devnet","validators_manager_address":null}')
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01' as const,
    }
    await askRegister(url, request)
    await signAll(world, url, cluster.validators)
    const done = await eventually('everything but the signature', async () => {
      const { validators, validators_manager_signature } = await register(url, request)
      expect(validators_manager_signature).toBeNull()
      const [validator] = validators
      return validator?.deposit_signature && validator.oracles_exit_signature_shares ? validator : undefined
    })
    await assertOraclesCanExit(
      world.network,
      world.oracles,
      3,
      cluster.validators[0]?.publicKey ?? new Uint8Array(),
      request.startIndex,
      done.oracles_exit_signature_shares,
    )
  })

  it('names its manager in /info', async () => {
    const { url } = await setUp(1)
    expect((await ask(url, '/info')).text).toBe(
      `{"network":"devnet","validators_manager_address":"${world.manager.address}"}`,
    )
  })
})

describe.skipIf(skipWithoutAnvil)('while the chain moves', () => {
  it('a deposit in between makes the signature worthless and the next answer right', async () => {
    const { vault, cluster, url } = await setUp(2)
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32, ETH32],
      type: '0x01' as const,
    }
    await register(url, request)
    await signAll(world, url, cluster.validators)
    const before = await registerUntilReady(url, request)
    // One that makes no validator: the indexes stay what they are.
    await depositOfAnother(false)
    expect(await registerOnChain(vault, '0x01', before)).toEqual({ ok: false, error: 'InvalidSignature' })
    const after = await registerUntilReady(url, request)
    expect(after.validators).toEqual(before.validators)
    const tampered = structuredClone(after)
    const [first] = tampered.validators
    if (first?.deposit_signature)
      first.deposit_signature = first.deposit_signature.replace(/..$/, (end) => (end === '00' ? '01' : '00'))
    expect(await registerOnChain(vault, '0x01', tampered)).toMatchObject({ ok: false })
    expect(await registerOnChain(vault, '0x01', after)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
  })

  it('generation 3 counts the deposits of the logs as well, where they are followed', async () => {
    const { vault, cluster, url } = await setUp(2)
    const startIndex = nextIndex(world.beacon)
    await register(url, { vault: vault.address, startIndex, amounts: [ETH32], type: '0x01' })
    await depositOfAnother()
    // The consensus node has not come so far.
    expect(nextIndex(world.beacon)).toBe(startIndex)
    const [key = ''] = keysOf(cluster.validators.slice(1))
    expect(await postValidators(url, [key])).toMatchObject({ status: 200 })
    const exit = (await getExits(url)).find(({ public_key }) => public_key === key)
    expect(exit?.validator_index).toBe(startIndex + 1)
    await world.beaconFollows.sync()
    expect(await postValidators(url, [key])).toMatchObject({ status: 200 })
  })

  it('nothing is given out while the consensus node is not in step', async () => {
    const { vault, url } = await setUp(1)
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01' as const,
    }
    for (const step of [{ is_syncing: true }, { el_offline: true }, { is_optimistic: true }]) {
      world.beacon.setStep(step)
      // Seconds ago it was in step.
      await eventually('it is found out', async () =>
        (await askRegister(url, request)).status === 503 ? true : undefined,
      )
      expect(await askRegister(url, request)).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
      world.beacon.setStep(undefined)
      expect((await askRegister(url, request)).status).toBe(200)
    }
  })

  it('an index taken by somebody else voids the exits, not the deposits', async () => {
    const { vault, cluster, url } = await setUp(2)
    const startIndex = nextIndex(world.beacon)
    const request = { vault: vault.address, startIndex, amounts: [ETH32, ETH32], type: '0x01' as const }
    await register(url, request)
    await signAll(world, url, cluster.validators)
    const before = await registerUntilReady(url, request)
    await depositOfAnother()
    const used = {
      status: 422,
      json: { code: 'INDEX_USED', message: expect.stringContaining(String(startIndex + 1)) },
    }
    // The deposit logs have it a moment before the consensus node does.
    expect(await askRegister(url, request)).toMatchObject(used)
    await world.beaconFollows.queue()
    expect(await askRegister(url, request)).toMatchObject(used)
    const next = { ...request, startIndex: startIndex + 1 }
    const { validators, validators_manager_signature } = await register(url, next)
    expect(validators_manager_signature).toBeNull()
    expect(validators).toEqual(
      before.validators.map((validator) => ({ ...validator, oracles_exit_signature_shares: null, receipt: null })),
    )
    await signAll(world, url, cluster.validators)
    const after = await registerUntilReady(url, next)
    for (const [position, { publicKey }] of cluster.validators.entries()) {
      const shares = after.validators[position]?.oracles_exit_signature_shares ?? null
      await assertOraclesCanExit(world.network, world.oracles, 3, publicKey, startIndex + 1 + position, shares)
    }
    expect(await registerOnChain(vault, '0x01', after)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    expect(world.beacon.findValidator(cluster.validators[0]?.publicKey ?? 0)).toMatchObject({ index: startIndex + 1 })
  })

  it('an index no chain can have is refused, and one that the consensus node alone knows as used', async () => {
    const { vault, url } = await setUp(1)
    const startIndex = nextIndex(world.beacon)
    const request = { vault: vault.address, startIndex: 2 ** 40, amounts: [ETH32], type: '0x01' as const }
    expect(await askRegister(url, request)).toMatchObject({ status: 422, json: { code: 'INDEX_INVALID' } })
    // As far as the deposit logs are known this one is free.
    world.beacon.addValidators(new Uint8Array(randomBytes(48)))
    onTestFinished(() => world.beacon.reorg(1))
    expect(await askRegister(url, { ...request, startIndex })).toMatchObject({
      status: 422,
      json: { code: 'INDEX_USED', message: expect.stringMatching(new RegExp(` is ${startIndex + 1}$`)) },
    })
    expect(await getValidators(url)).toEqual([])
  })
})

describe.skipIf(skipWithoutAnvil)('with something away', () => {
  /** A registration that is ready, with what lies between relayer and nodes under the test's control. */
  async function setUpReady() {
    const execution = await startRpcProxy(world.anvil)
    onTestFinished(() => execution[Symbol.asyncDispose]())
    let lie: (method: string, path: string) => unknown = () => undefined
    const consensus = await startHttpStandIn(async ({ method, path, query, body }) => {
      const lied = lie(method, path)
      if (lied !== undefined) return { status: 200, body: lied }
      const response = await fetch(`${world.beacon.url}${path}?${query}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      })
      return { status: response.status, body: await response.json() }
    })
    onTestFinished(() => consensus[Symbol.asyncDispose]())
    const made = await setUp(1, {
      EXECUTION_ENDPOINT: execution.url,
      CONSENSUS_ENDPOINT: consensus.url,
      EXECUTION_RETRY_TIMEOUT: '1',
      CONSENSUS_RETRY_TIMEOUT: '1',
    })
    const request = {
      vault: made.vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01' as const,
    }
    await register(made.url, request)
    await signAll(world, made.url, made.cluster.validators)
    await registerUntilReady(made.url, request)
    const lieOfConsensus = (how: typeof lie) => {
      lie = how
    }
    return { ...made, request, execution, consensus, lieOfConsensus }
  }
  const isAway = { status: 503, json: { code: 'DEPENDENCY_AWAY' } }

  it('there is no answer, and with all back there is one again', async () => {
    const { url, request, execution, consensus, lieOfConsensus } = await setUpReady()
    for (const node of [execution, consensus]) {
      node.fail('down')
      expect(await askRegister(url, request)).toMatchObject(isAway)
      node.fail(undefined)
      await registerUntilReady(url, request).catch(() => undefined)
    }
    // Says where the next index is, and of keys what nobody asked for.
    const pubkey = `0x${'ee'.repeat(48)}`
    const validator = { pubkey, withdrawal_credentials: `0x${'00'.repeat(32)}`, effective_balance: '32000000000' }
    const foreign = { index: '1', balance: '32000000000', status: 'active_ongoing', validator }
    lieOfConsensus((method, path) =>
      method === 'POST' && path.endsWith('/validators') ? { data: [foreign] } : undefined,
    )
    expect(await askRegister(url, request)).toMatchObject(isAway)
    lieOfConsensus(() => undefined)
    await eventually('an answer', async () => ((await askRegister(url, request)).status === 200 ? true : undefined))
    expect(isReady(await register(url, request))).toBe(true)
  })

  it('nothing is signed over a registry that is not read', async () => {
    const { cluster, request, stage } = await setUpReady()
    await stage.query('delete from checkpoints where name <> $1', ['oracle_set'])
    await stage.query('delete from registry_validators')
    world.ipfs.fail('down')
    onTestFinished(() => world.ipfs.fail(undefined))
    await world.anvil.mine(1)
    // Its requests wait as long as a user's for a dump that does not come, not as long as those of tests.
    const { url } = await stage.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile }, { patienceMs: PATIENCE_MS })
    const answer = await askRegister(url, request)
    expect(answer).toMatchObject(isAway)
    expect(answer.text).not.toMatch(/signature"/)
  })
})

/** An address of this machine that others reach. */
const outerAddress = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === 'IPv4' && !address.internal)?.address

it.skipIf(skipWithoutAnvil || outerAddress === undefined)(
  'without tokens other machines get nothing from the manager’s key',
  async () => {
    const { vault, url } = await setUp(1, { RELAYER_HOST: '0.0.0.0' })
    const { port } = new URL(url)
    const request = {
      vault: vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32],
      type: '0x01' as const,
    }
    const outer = await askRegister(`http://${outerAddress}:${port}`, request)
    expect(outer).toMatchObject({ status: 403, json: { code: 'MANAGER_LOCAL_ONLY' } })
    expect((await askRegister(`http://127.0.0.1:${port}`, request)).status).toBe(200)
    const bare = await setUp(1, {
      RELAYER_HOST: '0.0.0.0',
      VALIDATORS_MANAGER_KEY_FILE: '',
      VALIDATORS_MANAGER_PASSWORD_FILE: '',
    })
    const { port: open } = new URL(bare.url)
    const own = { ...request, vault: bare.vault.address }
    expect((await askRegister(`http://${outerAddress}:${open}`, own)).status).toBe(200)
  },
)
