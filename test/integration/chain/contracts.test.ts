import {
  assertNoGap,
  type ChainDeposit,
  depositEvent,
  readDepositCount,
  readDepositRoot,
  readDeposits,
} from '@dvt-relayer/chain/execution/deposit-contract.ts'
import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import {
  createManagerWallet,
  encodeRegistration,
  encodeWithdrawals,
  nonceToRoot,
} from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import { readManagerNonce } from '@dvt-relayer/chain/stakewise/vault-contract.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { Hex } from 'viem'
import { encodeAbiParameters, encodeEventTopics } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { skipWithoutAnvil, startAnvil } from '../../support/chain/anvil.ts'
import { depositOfVector } from '../../support/chain/beacon.ts'
import { type RpcStandIn, type StandInLog, startRpc } from '../../support/chain/rpc.ts'
import { deployDepositContract, depositBySomebodyElse } from '../../support/contracts/deposits.ts'
import { deployVault } from '../../support/contracts/vault.ts'
import { readFixtureJson } from '../../support/keys/fixtures.ts'

const network = networks.hoodi
const BLOCK = `0x${'ab'.repeat(32)}`
/** What every deposit contract has; other implementations print them. */
const DEPOSIT_TOPIC = '0x649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5'
const ROOT_SELECTOR = '0xc5f2892f'
const COUNT_SELECTOR = '0x621fd130'
type Vector = Parameters<typeof depositOfVector>[0] & { network: string }
const vectors = readFixtureJson('vectors/deposit_data.json') as { cases: Vector[] }
const deposits = vectors.cases.filter((vector) => vector.network === 'hoodi').map(depositOfVector)

const clientOf = (node: { url: string }, of: Pick<typeof network, 'name' | 'chainId'> = network) =>
  createExecutionClient({
    endpoints: [node.url],
    timeoutMs: 60_000,
    retryTimeoutMs: 0,
    backoffMs: { first: 1, most: 5 },
    network: of,
  })

const bytes = (length: number, fill: number) => toHex(new Uint8Array(length).fill(fill))
const littleEndian = (value: bigint) => {
  const word = Buffer.alloc(8)
  word.writeBigUInt64LE(value)
  return toHex(word)
}

type Field = (typeof depositEvent.inputs)[number]['name']

/** The log of deposit `index`; `change` damages a field. */
function depositLog(index: bigint, blockNumber: number, change: Partial<Record<Field, Hex>> = {}): StandInLog {
  const fields = {
    pubkey: bytes(48, 1),
    withdrawal_credentials: bytes(32, 2),
    amount: littleEndian(32_000_000_000n + index),
    signature: bytes(96, 3),
    index: littleEndian(index),
    ...change,
  }
  const { pubkey, withdrawal_credentials, amount, signature } = fields
  const values = [pubkey, withdrawal_credentials, amount, signature, fields.index] as const
  const data = encodeAbiParameters(depositEvent.inputs, values)
  return { address: toHex(network.depositContract), topics: [DEPOSIT_TOPIC], data, blockNumber, logIndex: 0 }
}

async function allDeposits(node: RpcStandIn, fromBlock = 0, toBlock = node.head) {
  const found: ChainDeposit[] = []
  const ranges: [number, number][] = []
  let malformed = 0
  for await (const range of readDeposits(clientOf(node), network, fromBlock, toBlock)) {
    ranges.push([range.fromBlock, range.toBlock])
    found.push(...range.deposits)
    malformed += range.malformed
  }
  return { found, ranges, malformed }
}

const startNode = (logs: StandInLog[] = []) => startRpc({ chainId: network.chainId, head: 100_000, logs })

describe('deposits', () => {
  it('are those of the event that every deposit contract has', () => {
    expect(encodeEventTopics({ abi: [depositEvent] })).toEqual([DEPOSIT_TOPIC])
  })

  it('are read field by field, range by range without holes', async () => {
    await using node = await startNode([0n, 1n, 2n].map((index) => depositLog(index, 30_000 * Number(index + 1n))))
    node.limit = { blocks: 20_000, refusal: { code: -32005, message: 'too many blocks' } }
    const { found, ranges, malformed } = await allDeposits(node, 10, 95_000)
    expect(found[1]).toEqual({
      blockNumber: 60_000,
      logIndex: 0,
      publicKey: new Uint8Array(48).fill(1),
      withdrawalCredentials: new Uint8Array(32).fill(2),
      amountGwei: 32_000_000_001n,
      signature: new Uint8Array(96).fill(3),
      depositIndex: 1,
    })
    expect([found.map(({ depositIndex }) => depositIndex), malformed]).toEqual([[0, 1, 2], 0])
    expect([ranges[0]?.[0], ranges.at(-1)?.[1]]).toEqual([10, 95_000])
    for (const [position, [from]] of ranges.entries())
      if (position > 0) expect(from).toBe((ranges[position - 1]?.[1] ?? 0) + 1)
  })

  it('have amounts and indexes of any size that fits', async () => {
    const amount = littleEndian(2n ** 64n - 1n)
    await using node = await startNode([depositLog(2n ** 53n - 1n, 5, { amount })])
    const { found } = await allDeposits(node)
    expect(found[0]).toMatchObject({ amountGwei: 2n ** 64n - 1n, depositIndex: Number.MAX_SAFE_INTEGER })
  })

  it('are skipped and counted where they are malformed', async () => {
    const wrong: Partial<Record<Field, Hex>>[] = [
      { pubkey: bytes(47, 1) },
      { pubkey: bytes(96, 1) },
      { pubkey: '0x' },
      { withdrawal_credentials: bytes(31, 1) },
      { amount: bytes(7, 0) },
      { amount: bytes(9, 0) },
      { signature: bytes(95, 1) },
      { index: bytes(32, 0) },
      { index: littleEndian(2n ** 53n) },
    ]
    const damaged = wrong.map((change) => depositLog(1n, 7, change))
    const undecodable = { ...depositLog(1n, 7), data: '0x1234' }
    await using node = await startNode([depositLog(0n, 5), ...damaged, undecodable, depositLog(1n, 9)])
    const { found, malformed } = await allDeposits(node)
    expect(found.map(({ depositIndex }) => depositIndex)).toEqual([0, 1])
    expect(malformed).toBe(wrong.length + 1)
  })
})

describe('the order of deposits', () => {
  const indexes = (...list: number[]) => list.map((depositIndex) => ({ depositIndex }))

  it('has no gap, and ends where the contract has counted to', () => {
    expect(assertNoGap(indexes(5, 6, 7), { previousIndex: 4, count: 8 })).toBe(7)
    expect(assertNoGap(indexes(5, 6, 7), {})).toBe(7)
    expect(assertNoGap(indexes(0), { previousIndex: -1, count: 1 })).toBe(0)
    expect(assertNoGap([], { previousIndex: 4, count: 5 })).toBe(4)
    expect(assertNoGap([], { previousIndex: -1, count: 0 })).toBe(-1)
    expect(assertNoGap([], { count: 5 })).toBeUndefined()
  })

  it.each([
    ['one is left out', indexes(5, 7), {}],
    ['one is there twice', indexes(5, 5), {}],
    ['they are turned round', indexes(6, 5), {}],
    ['the first is left out', indexes(6), { previousIndex: 4 }],
    ['one comes again', indexes(4), { previousIndex: 4 }],
    ['the very first is left out', indexes(1), { previousIndex: -1 }],
    ['the last is left out', indexes(5), { count: 7 }],
    ['there are more than the contract has', indexes(5), { count: 5 }],
    ['all are left out', [], { previousIndex: 4, count: 6 }],
  ])('tells that %s', (_, list, context) => {
    const host = 'node.invalid'
    let error: unknown
    try {
      assertNoGap(list, { ...context, host })
    } catch (reason) {
      error = reason
    }
    expect(error).toMatchObject({ code: 'EXECUTION_INVALID', meta: { host } })
    expect(String(error)).toContain(host)
  })

  it('shows a node that leaves a log out', async () => {
    await using node = await startNode([depositLog(0n, 5), depositLog(2n, 9)])
    const { found } = await allDeposits(node)
    expect(() => assertNoGap(found, { previousIndex: -1 })).toThrow('deposit 2 follows deposit 0')
  })
})

describe('what a contract answers', () => {
  const [root, count] = [bytes(32, 0xcd), littleEndian(20_551n)]
  const encoded = encodeAbiParameters([{ type: 'bytes' }], [count])

  it('is asked by the selectors every deposit contract has, at one block', async () => {
    await using node = await startNode()
    const client = clientOf(node)
    const asked: unknown[] = []
    node.call = (call) => {
      asked.push(call)
      return call.data === ROOT_SELECTOR ? root : encoded
    }
    expect(toHex(await readDepositRoot(client, network, BLOCK))).toBe(root)
    expect(await readDepositCount(client, network, BLOCK)).toBe(20_551)
    const to = toHex(network.depositContract)
    expect(asked).toEqual([
      { to, data: ROOT_SELECTOR, blockHash: BLOCK, requireCanonical: true },
      { to, data: COUNT_SELECTOR, blockHash: BLOCK, requireCanonical: true },
    ])
  })

  it('is refused when it is not the encoding of such a value', async () => {
    await using node = await startNode()
    const client = clientOf(node)
    const invalid = { code: 'EXECUTION_INVALID', message: expect.stringContaining(new URL(node.url).host) }
    for (const answer of [bytes(31, 1), bytes(33, 1), bytes(64, 1), '0x01']) {
      node.call = () => answer
      await expect(readDepositRoot(client, network, BLOCK), answer).rejects.toMatchObject(invalid)
      await expect(readManagerNonce(client, new Uint8Array(20), BLOCK), answer).rejects.toMatchObject(invalid)
    }
    const wrongCounts: Hex[] = ['0x', bytes(7, 0), bytes(9, 0), littleEndian(2n ** 53n)]
    for (const answer of [
      root,
      encoded.slice(0, -64),
      `${encoded}${'00'.repeat(32)}`,
      `${encoded.slice(0, -2)}01`,
      ...wrongCounts.map((value) => encodeAbiParameters([{ type: 'bytes' }], [value])),
    ]) {
      node.call = () => answer
      await expect(readDepositCount(client, network, BLOCK), answer).rejects.toMatchObject(invalid)
    }
  })

  it('may be any uint256 as a nonce', async () => {
    await using node = await startNode()
    node.call = () => bytes(32, 0xff)
    expect(await readManagerNonce(clientOf(node), new Uint8Array(20), BLOCK)).toBe(2n ** 256n - 1n)
  })
})

describe.skipIf(skipWithoutAnvil)('a real node', () => {
  it('has deposits, root, count and nonce as they stood at a block', async () => {
    await using anvil = await startAnvil({ chainId: network.chainId })
    const contract = await deployDepositContract(anvil)
    const of = { ...network, depositContract: fromHex(contract.address) }
    const client = clientOf(anvil)
    const wallet = createManagerWallet(new Uint8Array(32).fill(5))
    const vault = await deployVault(anvil, { manager: wallet.address, depositContract: contract })
    const vaultBytes = fromHex(vault.address, 20)
    const hashAtHead = async () => (await client.getBlock('latest'))?.hash ?? ''
    const stateAt = async (block: string) => ({
      root: toHex(await readDepositRoot(client, of, block)),
      count: await readDepositCount(client, of, block),
      nonce: await readManagerNonce(client, vaultBytes, block),
    })
    const before = await hashAtHead()
    const atFirst = await stateAt(before)
    expect(atFirst).toEqual({ root: await contract.root(), count: 0, nonce: 0n })

    for (const deposit of deposits) await depositBySomebodyElse(anvil, contract, deposit)
    const after = await hashAtHead()
    expect(await stateAt(after)).toEqual({ root: await contract.root(), count: deposits.length, nonce: 0n })
    expect(await stateAt(before)).toEqual(atFirst)

    const found: ChainDeposit[] = []
    const head = await client.blockNumber()
    for await (const range of readDeposits(client, of, 0, head)) found.push(...range.deposits)
    assertNoGap(found, { previousIndex: -1, count: await readDepositCount(client, of, after), host: client.host })
    expect(found.map(({ blockNumber: _, logIndex: __, depositIndex: ___, ...deposit }) => deposit)).toEqual(deposits)
  })

  it('takes what the wallet signs, and a contract that knows no call is told apart', async () => {
    await using anvil = await startAnvil({ chainId: network.chainId })
    const contract = await deployDepositContract(anvil)
    const of = { ...network, depositContract: fromHex(contract.address) }
    const client = clientOf(anvil)
    const wallet = createManagerWallet(new Uint8Array(32).fill(5))
    const vault = await deployVault(anvil, { manager: wallet.address, depositContract: contract })
    const vaultBytes = fromHex(vault.address, 20)
    const common = { chainId: network.chainId, vault: vaultBytes }
    const blockOf = async () => (await client.getBlock('latest'))?.hash ?? ''

    const [deposit] = deposits
    if (deposit === undefined) throw new Error('too few vectors')
    // The contract checks the data root, not the signature: the beacon chain does that.
    const registered = { publicKey: deposit.publicKey, amountGwei: 32_000_000_000n, signature: deposit.signature }
    const validators = encodeRegistration({ vault: vaultBytes, type: '0x02', validators: [registered] })
    const root = await readDepositRoot(client, of, await blockOf())
    const { signature } = await wallet.sign({ ...common, validatorsRegistryRoot: root, validators })
    expect(await vault.register(toHex(root), toHex(validators), toHex(signature))).toMatchObject({ ok: true })
    expect(await readManagerNonce(client, vaultBytes, await blockOf())).toBe(1n)

    const withdrawals = encodeWithdrawals([{ publicKey: deposit.publicKey, amountGwei: 0n }])
    const nonce = await readManagerNonce(client, vaultBytes, await blockOf())
    const withdrawal = { ...common, validatorsRegistryRoot: nonceToRoot(nonce), validators: withdrawals }
    const signed = await wallet.sign(withdrawal)
    expect(await vault.withdraw(toHex(withdrawals), toHex(signed.signature))).toMatchObject({ ok: true })

    const block = await blockOf()
    await expect(readManagerNonce(client, of.depositContract, block)).rejects.toMatchObject({
      code: 'EXECUTION_REVERTED',
    })
    await expect(readManagerNonce(client, new Uint8Array(20).fill(9), block)).rejects.toMatchObject({
      code: 'EXECUTION_EMPTY',
    })
    await expect(readManagerNonce(client, vaultBytes, BLOCK)).rejects.toMatchObject({ code: 'HTTP_INVALID' })
  })
})
