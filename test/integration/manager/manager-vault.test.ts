/** What the vault contract says is asked before anything is signed for it: what it would refuse is refused here, and no more than that. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { depositSigningRoot } from '@dvt-relayer/crypto/messages/messages.ts'
import type { Hex } from 'viem'
import { toFunctionSelector } from 'viem/utils'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Relayer } from '../../../apps/relayer/src/relayer.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { type ProxiedCall, type RpcProxy, RpcRefusal, startRpcProxy } from '../../support/chain/rpc-proxy.ts'
import { deployContract } from '../../support/contracts/transactions.ts'
import type { Vault } from '../../support/contracts/vault.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { signValidators } from '../../support/keys/manager-wallet.ts'
import * as operator from '../../support/operator/operator.ts'
import {
  addRegistered,
  addValidator,
  amountsBody,
  credentialsOf,
  ETH,
  pairsBody,
  post,
  recorded,
  registerCompounding,
  settings,
} from '../../support/stages/manager.ts'
import { engine, sidecar2Round } from '../../support/world/nodes.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { type Answer, ask, eventually } from '../../support/world/world.ts'

const NOBODY = `0x${'00'.repeat(20)}` as const
const STRANGER = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'

let world: VaultWorld
let proxy: RpcProxy
let relayer: Relayer
let url: string
let vault: Vault
beforeAll(async () => {
  if (skipWithoutAnvil) return
  world = await startVaultWorld({ oracles: 3, threshold: 2, validators: 20 })
  proxy = await startRpcProxy(world.anvil)
  vault = await world.deployVault()
  await registerCompounding(world, vault, 1)
  relayer = await world.startRelayer({ ...settings, EXECUTION_ENDPOINT: proxy.url })
  url = relayer.url
})
afterEach(() => proxy?.answer(undefined))
afterAll(async () => {
  await relayer?.[Symbol.asyncDispose]()
  await proxy?.[Symbol.asyncDispose]()
  await world?.[Symbol.asyncDispose]()
})

const fund = (...keys: readonly string[]) =>
  post(
    url,
    '/fund',
    amountsBody(
      vault.address,
      keys.map((key) => [key, ETH] as const),
    ),
  )
const withdraw = (...keys: readonly string[]) =>
  post(
    url,
    '/withdraw',
    amountsBody(
      vault.address,
      keys.map((key) => [key, ETH] as const),
    ),
  )
const consolidate = (source: string, target: string) =>
  post(url, '/consolidate', pairsBody(vault.address, [[source, target]]))

const isSigned = async (answer: Promise<Answer>) =>
  expect(await answer).toMatchObject({
    status: 200,
    json: { validators_manager_signature: expect.stringMatching(/^0x[0-9a-f]{130}$/) },
  })
/** Refused, with exactly these failures, and not recorded. */
async function isUnfit(asking: () => Promise<Answer>, ...failures: (readonly [index: number, code: string])[]) {
  const before = (await recorded(world)).length
  expect(await asking()).toMatchObject({
    status: 422,
    json: { code: 'VALIDATORS_REFUSED', failures: failures.map(([index, code]) => ({ index, code })) },
  })
  expect(await recorded(world)).toHaveLength(before)
}

/** A deposit of a new key, rightly signed; kept pending by the consensus node. */
function pendingDeposit(of: {
  type?: '0x01' | '0x02'
  address?: string
  key?: ReturnType<typeof createTestKeys>[number]
}) {
  const [fresh] = createTestKeys(1, { nodes: 1, threshold: 1 })
  const key = of.key ?? fresh
  if (key === undefined) throw new Error('no key')
  const withdrawalCredentials = credentialsOf(of.type ?? '0x02', of.address ?? vault.address)
  const message = { publicKey: key.publicKey, withdrawalCredentials, amountGwei: BigInt(32 * ETH) }
  const signature = engine.sign(key.secretKey, depositSigningRoot(world.network, message))
  world.beacon.addPendingDeposits({ ...message, signature })
  return { key, hex: toHex(key.publicKey) }
}

describe.skipIf(skipWithoutAnvil)('a key whose deposit is pending', () => {
  it('is funded where the vault has registered it, and with others that are validators', async () => {
    const [active = '0x'] = await registerCompounding(world, vault, 1)
    const [waiting = '0x'] = await registerCompounding(world, vault, 1, 'pending')
    expect(world.beacon.findValidator(fromHex(waiting, 48))).toBeUndefined()
    const tops = [active, waiting].map((publicKey) => ({ publicKey, amountGwei: ETH }))
    const signature = await operator.fund(url, vault.address, tops)
    expect(await operator.fundOnChain(vault, tops, signature)).toMatchObject({ ok: true })
    await world.beaconFollows.sync()
    expect(world.beacon.findValidator(fromHex(waiting, 48))?.balanceGwei).toBe(BigInt(33 * ETH))
  })

  it('is neither withdrawn from nor consolidated', async () => {
    const [waiting = '0x'] = await registerCompounding(world, vault, 1, 'pending')
    const other = await addRegistered(world, vault)
    await isUnfit(() => withdraw(waiting), [0, 'VALIDATOR_UNKNOWN'])
    await isUnfit(() => consolidate(waiting, other), [0, 'VALIDATOR_UNKNOWN'])
    await isUnfit(() => consolidate(other, waiting), [0, 'VALIDATOR_UNKNOWN'])
    await world.beaconFollows.sync()
  })

  it('is not funded where it is a stranger’s deposit, rightly signed with the vault’s credentials', async () => {
    const { hex } = pendingDeposit({})
    await isUnfit(() => fund(hex), [0, 'VALIDATOR_UNREGISTERED'])
    await vault.addCompounding(hex)
    await isSigned(fund(hex))
  })

  it('is judged by the first rightly signed deposit alone', async () => {
    const other = pendingDeposit({ address: STRANGER })
    pendingDeposit({ key: other.key })
    const old = pendingDeposit({ type: '0x01' })
    pendingDeposit({ key: old.key })
    const publicKey = new Uint8Array(randomBytes(48))
    const withdrawalCredentials = credentialsOf('0x02', vault.address)
    const unsigned = { publicKey, withdrawalCredentials, amountGwei: BigInt(32 * ETH), signature: new Uint8Array(96) }
    world.beacon.addPendingDeposits(unsigned)
    const keys = [other.hex, old.hex, toHex(publicKey)]
    await vault.addCompounding(...keys)
    await isUnfit(() => fund(...keys), [0, 'VALIDATOR_FOREIGN'], [1, 'VALIDATOR_TYPE'], [2, 'VALIDATOR_UNKNOWN'])
    const [fresh] = createTestKeys(1, { nodes: 1, threshold: 1 })
    if (fresh === undefined) throw new Error('no key')
    const foreign = credentialsOf('0x02', STRANGER)
    const wrong = { ...unsigned, publicKey: fresh.publicKey, withdrawalCredentials: foreign }
    world.beacon.addPendingDeposits(wrong)
    const { hex } = pendingDeposit({ key: fresh })
    await vault.addCompounding(hex)
    await isSigned(fund(hex))
  })
})

describe.skipIf(skipWithoutAnvil)('a validator that the vault has not registered as 0x02', () => {
  it('is neither funded nor the end of a consolidation, as on chain', async () => {
    const [strange, own] = [addValidator(world, vault.address), await addRegistered(world, vault)]
    await isUnfit(() => fund(own, strange), [1, 'VALIDATOR_UNREGISTERED'])
    await isUnfit(() => consolidate(own, strange), [0, 'VALIDATOR_UNREGISTERED'])
    const pairs = [{ source: own, target: strange }]
    const root = `0x${(await vault.nonce()).toString(16).padStart(64, '0')}` as const
    const message = { root, validators: operator.encodePairs(pairs) }
    const domain = { chainId: world.network.chainId, vault: vault.address }
    const signature = await signValidators(world.manager.privateKey, domain, message)
    expect(await operator.consolidateOnChain(vault, pairs, signature)).toEqual({ ok: false, error: 'UnknownValidator' })
    await isSigned(withdraw(strange))
    await isSigned(consolidate(strange, own))
    await isSigned(fund(own))
  })

  it('is switched to 0x02: the oracles answer for it', async () => {
    const old = addValidator(world, vault.address, { type: '0x01' })
    await isSigned(consolidate(old, old))
  })

  it('is named in a batch, as one that is slashed or foreign, and the others are signed without it', async () => {
    const fit = [await addRegistered(world, vault), await addRegistered(world, vault)]
    const [slashed, foreign, strange] = [
      await addRegistered(world, vault, { status: 'active_slashed' }),
      addValidator(world, STRANGER),
      addValidator(world, vault.address),
    ]
    const [first = '', second = ''] = fit
    await isUnfit(
      () => fund(first, slashed, foreign, second, strange),
      [1, 'VALIDATOR_STATUS'],
      [2, 'VALIDATOR_FOREIGN'],
      [4, 'VALIDATOR_UNREGISTERED'],
    )
    await isSigned(fund(...fit))
  })
})

/** What an older vault answers: it knows none of these functions. */
const without =
  (...signatures: readonly string[]) =>
  ({ method, params, node }: ProxiedCall) => {
    const selectors = signatures.map((signature) => toFunctionSelector(signature))
    const { data = '' } = (params[0] ?? {}) as { data?: string }
    if (method === 'eth_call' && selectors.some((selector) => data.startsWith(selector)))
      throw new RpcRefusal(3, 'execution reverted')
    return node()
  }

describe.skipIf(skipWithoutAnvil)('a vault of an older version', () => {
  it('cannot say, so what the beacon chain says is enough', async () => {
    const [a, b] = [addValidator(world, vault.address), addValidator(world, vault.address)]
    await vault.setManager(STRANGER)
    proxy.answer(without('v2Validators(bytes32)', 'validatorsManager()'))
    try {
      await isSigned(fund(a))
      await isSigned(consolidate(a, b))
      await isSigned(withdraw(a))
      const { hex } = pendingDeposit({})
      await isUnfit(() => fund(hex), [0, 'VALIDATOR_UNREGISTERED'])
    } finally {
      await vault.setManager(world.manager.address)
    }
  })
})

describe.skipIf(skipWithoutAnvil)('the vault', () => {
  it('is read at one block', async () => {
    const [a, b] = [await addRegistered(world, vault), await addRegistered(world, vault)]
    for (const asking of [() => fund(a, b), () => consolidate(a, b), () => withdraw(a)]) {
      proxy.calls.length = 0
      await isSigned(asking())
      const reads = proxy.calls.filter(({ method, params }) => method === 'eth_getCode' || toVault(params))
      expect(reads.length).toBeGreaterThanOrEqual(3)
      const { hash } = (await world.anvil.rpc('eth_getBlockByNumber', 'latest', false)) as { hash: Hex }
      for (const { params } of reads) expect(params[1]).toEqual({ blockHash: hash, requireCanonical: true })
    }
  })

  const toVault = (params: unknown[]) =>
    (params[0] as { to?: string } | undefined)?.to?.toLowerCase() === vault.address.toLowerCase()

  it.each(['v2Validators(bytes32)', 'validatorsManager()', 'eth_getCode'])(
    'is waited for while the node does not answer %s',
    async (what) => {
      const key = await addRegistered(world, vault)
      proxy.answer(({ method, params, node }) => {
        const { data = '' } = (params[0] ?? {}) as { data?: string }
        const isAsked = what.startsWith('eth_')
          ? method === what
          : method === 'eth_call' && data.startsWith(toFunctionSelector(what))
        return isAsked ? '0x02' + '00' : node()
      })
      const answer = await fund(key)
      // Code that is no account's: a contract that accepts no signature.
      if (what === 'eth_getCode') expect(answer).toMatchObject({ status: 422, json: { code: 'MANAGER_FOREIGN' } })
      else expect(answer).toMatchObject({ status: 503, json: { code: 'DEPENDENCY_AWAY' } })
      proxy.answer(undefined)
      await isSigned(fund(key))
    },
  )
})

describe.skipIf(skipWithoutAnvil)('a manager', () => {
  let key: Hex
  let target: Hex
  beforeAll(async () => {
    if (!skipWithoutAnvil) [key, target] = [await addRegistered(world, vault), await addRegistered(world, vault)]
  })
  const askAll = () => [fund(key), withdraw(key), consolidate(key, target)]

  async function isForeign(manager: string) {
    const before = (await recorded(world)).length
    for (const asking of askAll()) {
      const answer = await asking
      expect(answer).toMatchObject({ status: 422, json: { code: 'MANAGER_FOREIGN' } })
      for (const address of [vault.address, manager, world.manager.address]) expect(answer.text).toContain(address)
    }
    expect(await recorded(world)).toHaveLength(before)
  }

  it.each([
    ['of another key', STRANGER],
    ['that is nobody', NOBODY],
  ])('%s: nothing is signed', async (_, manager) => {
    await vault.setManager(manager as Hex)
    try {
      await isForeign(manager)
    } finally {
      await vault.setManager(world.manager.address)
    }
    for (const asking of askAll()) await isSigned(asking)
  })

  it('that is a contract wallet of our key: signed, and taken by the vault', async () => {
    const wallet = await deployContract(world.anvil, 'OwnedWallet', [world.manager.address])
    await vault.setManager(wallet.address)
    try {
      const tops = [{ publicKey: key, amountGwei: ETH }]
      const signature = await operator.fund(url, vault.address, tops)
      expect(await operator.fundOnChain(vault, tops, signature)).toMatchObject({ ok: true })
    } finally {
      await vault.setManager(world.manager.address)
    }
  })

  it('that is a contract wallet of another key, or a contract that is no wallet: nothing is signed', async () => {
    const wallet = await deployContract(world.anvil, 'OwnedWallet', [STRANGER])
    try {
      for (const { address } of [wallet, world.keeper]) {
        await vault.setManager(address)
        await isForeign(address)
      }
    } finally {
      await vault.setManager(world.manager.address)
    }
  })

  it('that is our account, delegated to a contract that does not know it: nothing is signed, as the vault takes nothing', async () => {
    const tops = [{ publicKey: key, amountGwei: ETH }]
    const signature = await operator.fund(url, vault.address, tops)
    await world.anvil.rpc('anvil_setCode', world.manager.address, `0xef0100${world.keeper.address.slice(2)}`)
    await world.anvil.mine(1)
    try {
      await isForeign(world.manager.address)
      expect(await operator.fundOnChain(vault, tops, signature)).toEqual({ ok: false, error: 'InvalidSignature' })
    } finally {
      await world.anvil.rpc('anvil_setCode', world.manager.address, '0x')
      await world.anvil.mine(1)
    }
    for (const asking of askAll()) await isSigned(asking)
  })

  it('is looked at from the start on, for each of VAULTS, and /ready says whose it is', async () => {
    const [own, strange] = [await world.deployVault(), await world.deployVault({ manager: STRANGER })]
    const vaults = { ...settings, VAULTS: `${own.address},${strange.address}` }
    await using fenced = await world.startRelayer(vaults, { intervalsMs: { manager: 50 } })
    type Checks = { checks: { manager: { ok: boolean; message?: string } } }
    const check = (isOk: boolean) =>
      eventually('the check of the manager', async () => {
        const { manager } = ((await ask(fenced.url, '/ready')).json as Checks).checks
        return manager.ok === isOk && manager.message !== 'not checked yet' ? manager : undefined
      })
    const { message = '' } = await check(false)
    for (const address of [strange.address, STRANGER, world.manager.address]) expect(message).toContain(address)
    expect(message).not.toContain(own.address)
    await strange.setManager(world.manager.address)
    await check(true)
  })

  it('is asked before a registration is signed', async () => {
    const own = await world.deployVault()
    const cluster = await makeCluster({
      dir: join(world.dir, 'manager-vault'),
      nodes: 3,
      threshold: 2,
      validators: 1,
      network: world.network,
      withdrawalAddress: fromHex(own.address, 20),
      feeRecipient: fromHex(own.address, 20),
    })
    await using registering = await world.startRelayer({ CLUSTER_LOCK_FILES: cluster.lockFile })
    const startIndex = operator.nextIndex(world.beacon) + 20
    const request = { vault: own.address, startIndex, amounts: [32 * ETH], type: '0x01' as const }
    await operator.register(registering.url, request)
    await own.setManager(STRANGER)
    for (const shareIndex of [1, 2]) await sidecar2Round(registering.url, world.network, cluster.validators, shareIndex)
    const body = {
      vault: own.address,
      validators_start_index: startIndex,
      amounts: request.amounts,
      validator_type: '0x01',
    }
    const refusal = await eventually('the refusal', async () => {
      const answer = await post(registering.url, '/register', body)
      return answer.status === 200 ? undefined : answer
    })
    expect(refusal).toMatchObject({ status: 422, json: { code: 'MANAGER_FOREIGN' } })
    expect(refusal.text).toContain(STRANGER)
    expect(await recorded(world, own.address)).toEqual([])
    await own.setManager(world.manager.address)
    expect(operator.isReady(await operator.registerUntilReady(registering.url, request))).toBe(true)
  })
})

describe.skipIf(skipWithoutAnvil)('what has a second reading', () => {
  it('is refused with what to set at the Operator', async () => {
    const keys = Array.from({ length: 7 }, () => addValidator(world, vault.address))
    await vault.addCompounding(...keys)
    const answer = await fund(...keys)
    expect(answer).toMatchObject({ status: 422, json: { code: 'BATCH_AMBIGUOUS' } })
    expect(answer.text).toContain('VALIDATORS_FUNDING_BATCH_SIZE=6')
    for (const count of [6, 5, 1]) await isSigned(fund(...keys.slice(0, count)))
  })

  it.each([8, 12, 13, 20, 23])('is not what %i fundings or consolidations are', async (count) => {
    const keys = Array.from({ length: count }, () => addValidator(world, vault.address))
    const target = await addRegistered(world, vault)
    await vault.addCompounding(...keys)
    await isSigned(fund(...keys))
    const pairs = keys.map((source) => [source, target] as const)
    await isSigned(post(url, '/consolidate', pairsBody(vault.address, pairs)))
  })
})
