/** Contracts on anvil: deployed, read and written to; a transaction that reverts names the error of the contract. */

import type { Abi, Hex } from 'viem'
import {
  decodeErrorResult,
  decodeFunctionResult,
  encodeDeployData,
  encodeFunctionData,
  getAddress,
  parseEventLogs,
} from 'viem/utils'
import type { Anvil } from '../chain/anvil.ts'
import { compileContract } from './compile.ts'

/** What became of a transaction: mined with these events, or reverted with the name of the contract's error. */
export type Outcome =
  | { ok: true; blockNumber: number; events: { name: string; args: Record<string, unknown> }[] }
  | { ok: false; error: string }

interface Receipt {
  status: Hex
  transactionHash: Hex
  blockNumber: Hex
  contractAddress: Hex | null
  logs: Parameters<typeof parseEventLogs>[0]['logs']
}

/** Of one transaction; below what the newest rules allow (2^24). */
const GAS = '0xe4e1c0'

/** Sends a transaction of anvil's own account, which is mined at once. `abi` names its events and its error. */
export async function sendTransaction(
  anvil: Anvil,
  transaction: { to: Hex; data: Hex; valueWei?: bigint },
  abi: Abi,
): Promise<Outcome> {
  const { to, data, valueWei = 0n } = transaction
  const receipt = await send(anvil, { to, data, value: `0x${valueWei.toString(16)}` })
  if (receipt.status !== '0x1') return { ok: false, error: await reasonOf(anvil, receipt.transactionHash, abi) }
  const events = parseEventLogs({ abi, logs: receipt.logs }) as unknown as { eventName: string; args: object }[]
  return {
    ok: true,
    blockNumber: Number(receipt.blockNumber),
    events: events.map(({ eventName, args }) => ({ name: eventName, args: { ...args } })),
  }
}

/** Calls a function of a contract with a transaction. */
export function writeContract(
  anvil: Anvil,
  contract: { address: Hex; abi: Abi },
  functionName: string,
  args: readonly unknown[],
  valueWei = 0n,
): Promise<Outcome> {
  const data = encodeFunctionData({ abi: contract.abi, functionName, args })
  return sendTransaction(anvil, { to: contract.address, data, valueWei }, contract.abi)
}

/** What a view of a contract answers at the head. */
export async function readContract(
  anvil: Anvil,
  contract: { address: Hex; abi: Abi },
  functionName: string,
  args: readonly unknown[] = [],
): Promise<unknown> {
  const call = { to: contract.address, data: encodeFunctionData({ abi: contract.abi, functionName, args }) }
  const data = (await anvil.rpc('eth_call', call, 'latest')) as Hex
  return decodeFunctionResult({ abi: contract.abi, functionName, data })
}

/**
 * Deploys the contract `name` of `test/support/contracts`. Returns its checksummed address.
 *
 * @param at where its code is put instead of where it was made; its storage starts empty there
 */
export async function deployContract(
  anvil: Anvil,
  name: string,
  args: readonly unknown[] = [],
  at?: Hex,
): Promise<{ address: Hex; abi: Abi; blockNumber: number }> {
  const { abi, creationCode } = compileContract(name)
  const receipt = await send(anvil, { data: encodeDeployData({ abi, bytecode: creationCode, args }) })
  const made = receipt.contractAddress
  if (receipt.status !== '0x1' || made === null) throw new Error(`${name} was not deployed`)
  if (at !== undefined) await anvil.rpc('anvil_setCode', at, await anvil.rpc('eth_getCode', made, 'latest'))
  return { address: getAddress(at ?? made), abi, blockNumber: Number(receipt.blockNumber) }
}

async function send(anvil: Anvil, transaction: { to?: Hex; data: Hex; value?: Hex }): Promise<Receipt> {
  const [from] = (await anvil.rpc('eth_accounts')) as Hex[]
  return (await anvil.rpc('eth_sendTransactionSync', { from, gas: GAS, ...transaction })) as Receipt
}

/** The name of the error a transaction reverted with. */
async function reasonOf(anvil: Anvil, hash: Hex, abi: Abi): Promise<string> {
  const trace = (await anvil.rpc('debug_traceTransaction', hash, { tracer: 'callTracer' })) as { output?: Hex }
  if (trace.output === undefined || trace.output === '0x') return 'reverted without a reason'
  return decodeErrorResult({ abi, data: trace.output }).errorName
}
