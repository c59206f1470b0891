/** A real EVM node (anvil) and our Keeper on it. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import type { Abi, Hex } from 'viem'
import { isAddressEqual, parseEventLogs } from 'viem/utils'
import { PATIENCE_MS } from '../../demo/wait.ts'
import { deployContract, type Outcome, readContract, writeContract } from '../contracts/transactions.ts'
import type { Approval } from '../contracts/vault.ts'

export interface Anvil extends AsyncDisposable {
  readonly url: string
  /** The process, for a test that kills or stops it. */
  readonly pid: number
  /** Calls a JSON-RPC method; throws on an error. */
  rpc(method: string, ...params: unknown[]): Promise<unknown>
  /** Mines empty blocks at once. */
  mine(blocks: number): Promise<void>
  /** Replaces the newest blocks by as many empty ones: what was in them is gone. */
  reorg(blocks: number): Promise<void>
}

export interface Keeper {
  /** Checksummed. */
  readonly address: Hex
  readonly abi: Abi
  /** Announces an oracle config, mined at once. Returns the block. */
  setConfig(cid: string): Promise<number>
  /** Replaces the oracles whose signatures count, and how many of them must sign. */
  setOracles(oracles: readonly Hex[], minOracles: number): Promise<Outcome>
  /** Announces rewards: a vault with validators that has missed two announcements must harvest. */
  updateRewards(): Promise<Outcome>
  /** `validatorsMinOracles()` at the head; likewise `exitSignaturesNonces(vault)`. */
  minOracles(): Promise<number>
  nonce(vault: Hex): Promise<number>
  /** `updateExitSignatures(vault, deadline, hash, signatures)`, sent by anvil's own account. */
  update(vault: Hex, approval: Approval): Promise<Outcome>
  /** Every accepted update of a vault's exit signatures, in order. */
  updates(vault: Hex): Promise<{ caller: Hex; nonce: number; ipfsHash: string; blockNumber: number }[]>
}

/** The binary of the platform's package, undefined where there is none. */
export function findAnvil(): string | undefined {
  try {
    const manifest = createRequire(import.meta.url).resolve('@foundry-rs/anvil-linux-amd64/package.json')
    const binary = join(dirname(manifest), 'bin', 'anvil')
    return existsSync(binary) ? binary : undefined
  } catch {
    return undefined
  }
}

/** Whether a test without anvil is skipped (with CI=true a missing anvil fails instead). */
export const skipWithoutAnvil = findAnvil() === undefined && process.env['CI'] !== 'true'

/**
 * Starts anvil on a free port.
 *
 * @param options.firstBlock number of its genesis block: at a network's own Keeper address, at least `network.keeperBlock`,
 * because nobody looks for its events before that
 * @param options.quickFinality the block two before the head is final; otherwise 64 before
 */
export async function startAnvil(options: {
  chainId: number
  firstBlock?: number
  quickFinality?: boolean
}): Promise<Anvil> {
  const binary = findAnvil()
  if (binary === undefined) throw new Error('anvil is not installed for this platform')
  const chain = ['--chain-id', String(options.chainId), '--number', String(options.firstBlock ?? 0)]
  const epoch = options.quickFinality ? ['--slots-in-an-epoch', '1'] : []
  const account = ['--accounts', '1', '--balance', '1000000000']
  const args = ['--port', '0', '--no-priority-fee', ...account, ...chain, ...epoch]
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  // Nothing of ours may outlive us, even when no dispose runs.
  const killAtExit = () => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  const stop = async () => {
    process.off('exit', killAtExit)
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  let url: string
  try {
    url = `http://127.0.0.1:${await listeningPort(child)}`
  } catch (error) {
    await stop()
    throw error
  }
  const rpc = async (method: string, ...params: unknown[]): Promise<unknown> => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
    const answer = (await response.json()) as { result?: unknown; error?: { message: string } }
    if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.message}`)
    return answer.result
  }
  return {
    url,
    pid: child.pid ?? 0,
    rpc,
    async mine(blocks) {
      await rpc('anvil_mine', `0x${blocks.toString(16)}`)
    },
    async reorg(blocks) {
      await rpc('anvil_reorg', blocks, [])
    },
    [Symbol.asyncDispose]: stop,
  }
}

/** The port that anvil prints once it listens. */
function listeningPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(() => reject(new Error('anvil does not start')), PATIENCE_MS)
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`anvil ended at its start: ${text.slice(-500)}`)))
    const read = (chunk: Buffer) => {
      text = (text + chunk.toString()).slice(-10_000)
      const port = /Listening on [^\s]*:(\d+)/.exec(text)?.[1]
      if (port === undefined) return
      clearTimeout(timer)
      resolve(Number(port))
    }
    // Kept flowing after the start as well: a full pipe would stop the node.
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
  })
}

/** Puts our Keeper at the network's Keeper address. */
export async function deployKeeper(anvil: Anvil, network: Pick<Network, 'keeper'>): Promise<Keeper> {
  const contract = await deployContract(anvil, 'Keeper', [], toHex(network.keeper))
  const { address, abi } = contract
  const write = (name: string, args: readonly unknown[]) => writeContract(anvil, contract, name, args)
  const read = (name: string, args?: readonly unknown[]) => readContract(anvil, contract, name, args)
  return {
    address,
    abi,
    async setConfig(cid) {
      const outcome = await write('updateConfig', [cid])
      if (!outcome.ok) throw new Error(`updateConfig failed: ${outcome.error}`)
      return outcome.blockNumber
    },
    setOracles: (oracles, minOracles) => write('setOracles', [oracles, minOracles]),
    updateRewards: () => write('updateRewards', []),
    minOracles: async () => Number(await read('validatorsMinOracles')),
    nonce: async (vault) => Number(await read('exitSignaturesNonces', [vault])),
    update: (vault, { ipfsHash, deadline, signatures }) =>
      write('updateExitSignatures', [vault, deadline, ipfsHash, signatures]),
    async updates(vault) {
      const filter = { address, fromBlock: '0x0', toBlock: 'latest' }
      const logs = (await anvil.rpc('eth_getLogs', filter)) as Parameters<typeof parseEventLogs>[0]['logs']
      const all = parseEventLogs({ abi, logs, eventName: 'ExitSignaturesUpdated' }) as unknown as RawUpdate[]
      const own = all.filter(({ args }) => isAddressEqual(args.vault, vault))
      return own.map(({ args, blockNumber }) => ({
        caller: args.caller,
        nonce: Number(args.nonce),
        ipfsHash: args.exitSignaturesIpfsHash,
        blockNumber: Number(blockNumber),
      }))
    },
  }
}

interface RawUpdate {
  args: { caller: Hex; vault: Hex; nonce: bigint; exitSignaturesIpfsHash: string }
  blockNumber: Hex
}
