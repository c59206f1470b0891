/**
 * What a vault contract says of itself before anything is signed for it, all at one block: its nonce, its validators manager, and which
 * validators it has registered as type 0x02. What the vault would refuse is not signed.
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import type { ExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import { type ManagerWallet, nonceToRoot } from '@dvt-relayer/chain/stakewise/validators-manager.ts'
import {
  acceptsSignature,
  hasCode,
  readIsRegisteredCompounding,
  readManagerNonce,
  readValidatorsManager,
} from '@dvt-relayer/chain/stakewise/vault-contract.ts'
import { createSemaphore } from '@dvt-relayer/common/flow/semaphore.ts'
import { createTurns } from '@dvt-relayer/common/flow/turns.ts'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import { withTimeout } from '@dvt-relayer/common/process/lifetime.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import type { Context } from '../../context.ts'
import { ApiError } from '../../errors.ts'

/** Calls of one request under way at once. */
const CALLS = 8
/**
 * Calls of all requests of the process under way at once: of one caller as many as of one request, whatever else it asks for, and callers
 * take turns. A request has up to a thousand keys, and a caller up to hundreds of requests.
 */
const ALL_CALLS = 2 * CALLS
/** Vaults remembered that take our signatures at a block. */
const MOST_GOOD = 256
const NOBODY = `0x${'00'.repeat(20)}`
/** What a contract is asked to accept: a message of no chain, so that no vault takes its signature for anything. */
const PROBE = {
  chainId: 0,
  vault: new Uint8Array(20),
  validatorsRegistryRoot: new Uint8Array(32),
  validators: new Uint8Array(1),
}

/** A vault at the newest block. */
export interface VaultState {
  /** `validatorsManagerNonce()`, as the root that is signed. */
  nonceRoot: Uint8Array
  /** Whether the vault has this key as one of type 0x02, of the keys that were asked for; undefined where its version cannot say. */
  isCompounding(publicKey: Uint8Array): boolean | undefined
}

/** Creates the reader. */
export function createVaultReader({
  chain,
  wallet,
  patienceMs,
}: Pick<Context, 'wallet' | 'patienceMs'> & { chain: Pick<Context['chain'], 'execution'> }) {
  const execution = inTurns(chain.execution, patienceMs)
  /** The vaults that take our signatures at this block. What a contract says at a block it always says. */
  let good = { blockHash: '', vaults: new Set<string>() }

  /** What is wrong with the vault's manager, in words; undefined when it takes our signatures, or its version cannot say. */
  async function judgeManager(
    ours: ManagerWallet,
    vault: Uint8Array,
    blockHash: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const manager = await readValidatorsManager(execution, { vault, blockHash, signal })
    if (manager === undefined) return undefined
    const said = `validatorsManager() of the vault ${checksumAddress(vault)} is ${manager}`
    const remedy = `; the key of VALIDATORS_MANAGER_KEY_FILE is that of ${ours.address}, and the vault would refuse what it signs`
    if (manager === NOBODY) return `${said}, nobody${remedy}`
    if (!(await hasCode(execution, manager, { blockHash, signal })))
      return manager === ours.address ? undefined : `${said}${remedy}`
    // A contract, or an account that has delegated to one: the vault asks the code, and no longer who has signed (ERC-1271).
    const accepted = await acceptsSignature(execution, fromHex(manager, 20), await ours.sign(PROBE), {
      blockHash,
      signal,
    })
    return accepted ? undefined : `${said}, a contract that does not accept its signatures (ERC-1271)${remedy}`
  }

  async function newestBlock(signal: AbortSignal): Promise<string> {
    const block = await execution.getBlock('latest', signal)
    if (block === undefined) throw new ApiError('DEPENDENCY_AWAY', 'the execution node has no newest block')
    return block.hash
  }

  async function refuseForeign(vault: Uint8Array, blockHash: string, signal: AbortSignal): Promise<void> {
    const problem = wallet === undefined ? undefined : await judgeManager(wallet, vault, blockHash, signal)
    if (problem !== undefined) throw new ApiError('MANAGER_FOREIGN', problem)
  }

  async function readAt(
    vault: Uint8Array,
    publicKeys: readonly Uint8Array[],
    inTime: AbortSignal,
  ): Promise<VaultState> {
    const blockHash = await newestBlock(inTime)
    // Once it is known that nothing is signed, nothing more is asked.
    const failed = new AbortController()
    const signal = AbortSignal.any([inTime, failed.signal])
    const place = { vault, blockHash, signal }
    const keys = new Map(publicKeys.map((key) => [toHex(key), key]))
    // First of all: what follows is of a vault.
    const nonceRoot = nonceToRoot(await readManagerNonce(execution, vault, blockHash, signal))
    const places = createSemaphore(CALLS)
    const readKey = async ([hex, key]: readonly [string, Uint8Array]) =>
      [hex, await places.run(() => readIsRegisteredCompounding(execution, place, key))] as const
    const [compounding] = await Promise.all([
      Promise.all([...keys].map(readKey)),
      refuseForeign(vault, blockHash, signal),
    ]).finally(() => failed.abort())
    const known = new Map<string, boolean | undefined>(compounding)
    return { nonceRoot, isCompounding: (key) => known.get(toHex(key)) }
  }

  /** Asks the execution node, in time, with words for the client. @throws {ApiError} VAULT_UNKNOWN, DEPENDENCY_AWAY, TOO_BUSY */
  async function asked<T>(unknown: string, read: (signal: AbortSignal) => Promise<T>): Promise<T> {
    try {
      return await withTimeout(read(AbortSignal.timeout(patienceMs)), patienceMs)
    } catch (error) {
      if (error instanceof ApiError) throw error
      if (error instanceof ChainError && ['EXECUTION_REVERTED', 'EXECUTION_EMPTY'].includes(error.code))
        throw new ApiError('VAULT_UNKNOWN', 'there is no vault at this address that counts its manager signatures', {
          cause: error,
        })
      throw new ApiError('DEPENDENCY_AWAY', `the execution node is away, so ${unknown}`, { cause: error })
    }
  }

  return {
    /**
     * The vault at the newest block, which takes what our key signs.
     *
     * @throws {ApiError} MANAGER_FOREIGN, VAULT_UNKNOWN, DEPENDENCY_AWAY, TOO_BUSY
     */
    read: (vault: Uint8Array, publicKeys: readonly Uint8Array[]): Promise<VaultState> =>
      asked('what the vault says is not known', (signal) => readAt(vault, publicKeys, signal)),

    /** Refuses a vault that at this block would not take what our key signs; each block is asked once. @throws {ApiError} MANAGER_FOREIGN, DEPENDENCY_AWAY */
    async assertManager(vault: Uint8Array, blockHash: string): Promise<void> {
      if (good.blockHash === blockHash && good.vaults.has(toHex(vault))) return
      await asked("the vault's validators manager is not known", (signal) => refuseForeign(vault, blockHash, signal))
      if (good.blockHash !== blockHash || good.vaults.size >= MOST_GOOD) good = { blockHash, vaults: new Set() }
      good.vaults.add(toHex(vault))
    },

    /** What is wrong with the managers of these vaults, in words. @throws when the execution node cannot say */
    async findForeign(vaults: readonly Uint8Array[], stopping: AbortSignal): Promise<string | undefined> {
      if (wallet === undefined) return undefined
      const signal = AbortSignal.any([stopping, AbortSignal.timeout(patienceMs)])
      const blockHash = await newestBlock(signal)
      const places = createSemaphore(CALLS)
      const problems = await Promise.all(
        vaults.map((vault) => places.run(() => judgeManager(wallet, vault, blockHash, signal))),
      )
      const found = problems.filter((problem) => problem !== undefined)
      return found.length === 0 ? undefined : found.join('. ')
    },
  }
}
/** The same node, asked by one caller after the other. */
function inTurns(
  node: ExecutionClient,
  patienceMs: number,
): Pick<ExecutionClient, 'host' | 'getBlock' | 'call' | 'request'> {
  const turns = createTurns({
    total: ALL_CALLS,
    groups: {},
    others: { ofOne: CALLS, ofAll: ALL_CALLS },
    // Of a request no more than `CALLS` wait, and admission bounds the requests.
    waiting: Number.POSITIVE_INFINITY,
    waitMs: patienceMs,
  })
  async function inTurn<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
    const turn = await turns.take(1, signal === undefined ? {} : { signal })
    if (turn === undefined)
      throw new ApiError('TOO_BUSY', 'too much is being asked of the execution node for vaults; ask again in a moment')
    try {
      return await ask()
    } finally {
      turn.release()
    }
  }
  return {
    get host() {
      return node.host
    },
    getBlock: (tag, signal) => inTurn(signal, () => node.getBlock(tag, signal)),
    call: (call) => inTurn(call.signal, () => node.call(call)),
    request: (method, params, result, signal) => inTurn(signal, () => node.request(method, params, result, signal)),
  }
}
export type VaultReader = ReturnType<typeof createVaultReader>
