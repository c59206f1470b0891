/**
 * The key shares of SSV operators, as public as they are on the chain and in files: which validators an operator has a share of, each
 * operator's public key share, and the ciphertext (docs/protocol.md#12-ssv).
 */

import { ChainError } from '@dvt-relayer/chain/errors.ts'
import { createExecutionClient } from '@dvt-relayer/chain/execution/execution.ts'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { type FileItem, findStranger, originOf } from '@dvt-relayer/chain/ssv/keyshares-files.ts'
import { liveRegistrations, operatorIdsOf, type SsvScope, type SsvState } from '@dvt-relayer/chain/ssv/registry.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { untilAborted } from '@dvt-relayer/common/flow/until-aborted.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { anyAnswer, CHECK_MS, inTime } from '@dvt-relayer/common/process/lifetime.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { SsvShare } from '@dvt-relayer/crypto/ssv/shares.ts'
import type { SsvSources } from '../../config/ssv.ts'
import type { Events } from '../../events.ts'
import { KeysError } from '../keys-error.ts'
import type { KeyShare } from '../keystore.ts'
import { createSsvChain, type SsvChain } from './chain.ts'
import { createSsvFiles } from './files.ts'
import { type OperatorRef, ownPosition } from './operator-ref.ts'
import { createSsvStateFile } from './state-file.ts'

export interface SsvSourceOptions {
  sources: SsvSources
  operators: readonly OperatorRef[]
  network: Pick<Network, 'name' | 'chainId' | 'secondsPerSlot' | 'ssvNetwork'>
  engine: BlsEngine
  events: Events
}

/** One share of one operator. */
export interface FoundShare {
  readonly operator: OperatorRef
  /** Without a withdrawal address: neither chain nor file names one. */
  readonly keyShare: KeyShare
  readonly share: SsvShare
  /** Where it was found, as messages say it. */
  readonly origin: string
}

/** What was found at a look. Shares from the chain come first. */
export interface SsvFindings {
  readonly shares: readonly FoundShare[]
  /** What is wrong now; what was known before stays in `shares`. */
  readonly problems: readonly Error[]
}

/** Creates a source; nothing is read before the first look. */
export function createSsvSource({ sources, operators, network, engine, events }: SsvSourceOptions) {
  const files = createSsvFiles({ sources, operators, engine, events })
  const scope = scopeOf(sources, operators, network)
  const execution = sources.chain && createExecutionClient({ ...sources.chain, network })
  /** The same nodes, each by itself: what is wrong with them is known at once, and whether any of them answers. */
  const watched = (sources.chain?.endpoints ?? []).map((endpoint) =>
    createExecutionClient({ endpoints: [endpoint], timeoutMs: CHECK_MS, retryTimeoutMs: 0, network }),
  )
  const chain =
    sources.chain &&
    execution &&
    createSsvChain({
      execution,
      network,
      scope,
      file: createSsvStateFile({ path: sources.chain.stateFile, scope, isReadOnly: sources.chain.isReadOnly }, events),
      engine,
      events,
    })
  let isChainChecked = false

  /** Whether the nodes are of our network, once; nodes that are away say so when they are followed. */
  async function checkChain(signal: AbortSignal): Promise<void> {
    if (isChainChecked || execution === undefined) return
    try {
      await untilAborted(execution.checkChain(), signal)
      isChainChecked = true
    } catch (error) {
      if (error instanceof ChainError && error.code === 'CHAIN_MISMATCH')
        throw new BootError('CHAIN_MISMATCH', `${error.message} (EXECUTION_ENDPOINT, NETWORK)`, { cause: error })
    }
  }

  async function follow(signal: AbortSignal): Promise<Error[]> {
    if (chain === undefined) return []
    try {
      // Nodes that are away are known at once, also where a request to them may take a minute; how long a scan takes is another matter.
      await untilAborted(inTime(anyAnswer(watched.map((node) => node.blockNumber())), 'the execution node'), signal)
      await chain.follow(signal)
      return operators.flatMap((operator) => wrongOperator(chain.state, operator) ?? [])
    } catch (error) {
      return [error as Error]
    }
  }

  return {
    /** Reads what is new on the chain and in the files. @throws {BootError} CHAIN_MISMATCH */
    async look(signal: AbortSignal): Promise<SsvFindings> {
      await checkChain(signal)
      const read = await files.read()
      const problems = [...read.problems, ...(await follow(signal))]
      signal.throwIfAborted()
      const fromChain = chain?.state === undefined ? [] : sharesOnChain(chain.state, operators)
      const { shares, faults } = sharesInFiles(read.items, operators, chain?.state)
      return { shares: [...fromChain, ...shares], problems: [...problems, ...faults] }
    },
  }
}

function scopeOf(
  { owners }: SsvSources,
  operators: readonly OperatorRef[],
  { ssvNetwork }: SsvSourceOptions['network'],
): SsvScope {
  const named = operators.flatMap(({ id }) => id ?? [])
  const keys = operators.flatMap(({ id, publicKey }) => (id === undefined && publicKey ? [publicKey] : []))
  return {
    contract: ssvNetwork ?? { address: new Uint8Array(20), block: 0 },
    owners: owners.length === 0 ? undefined : owners,
    operators: { ids: named, publicKeys: keys },
  }
}

/** What the chain says against an operator. */
function wrongOperator(
  state: SsvChain['state'],
  { id, publicKey, name }: OperatorRef,
): BootError | KeysError | undefined {
  if (state === undefined) return undefined
  const ids = publicKey === undefined ? [] : operatorIdsOf(state, publicKey)
  if (id === undefined)
    return ids.length > 0
      ? undefined
      : new KeysError(
          'OPERATOR_UNKNOWN',
          `no operator of the SSV contract has the key of ${name}: is it of another network, or is the execution node still catching up? (SSV_OPERATOR_KEY_FILE, NETWORK)`,
        )
  if (!state.operators.has(id))
    return new KeysError(
      'OPERATOR_UNKNOWN',
      `the SSV contract knows no operator ${id}: is it of another network, or is the execution node still catching up? (SSV_OPERATOR_ID, NETWORK)`,
    )
  if (publicKey === undefined || ids.includes(id)) return undefined
  const whose =
    ids.length === 0 ? 'no operator has the key of that file' : `that file has the key of operator ${ids.join(', ')}`
  return new BootError(
    'OPERATOR_WRONG',
    `operator ${id} has another key on the chain than ${name}: ${whose}; correct SSV_OPERATOR_ID or SSV_OPERATOR_KEY_FILE`,
  )
}

function sharesOnChain(state: SsvState, operators: readonly OperatorRef[]): FoundShare[] {
  const registrations = liveRegistrations(state)
  return operators.flatMap((operator) => {
    if (wrongOperator(state, operator) !== undefined) return []
    const ids =
      operator.id === undefined && operator.publicKey ? operatorIdsOf(state, operator.publicKey) : [operator.id]
    return registrations.flatMap(({ publicKey, data, blockNumber, logIndex }) =>
      data.shares
        .filter(({ operatorId }) => ids.includes(operatorId))
        .map((share) => ({
          operator,
          share,
          keyShare: keyShareOf(publicKey, data.shares, share),
          origin: `log ${logIndex} of block ${blockNumber}`,
        })),
    )
  })
}

/** Where the chain knows the operators, those of a file must be them: its proofs are by the keys that the file names. */
function sharesInFiles(
  items: readonly FileItem[],
  operators: readonly OperatorRef[],
  state: SsvState | undefined,
): { shares: FoundShare[]; faults: BootError[] } {
  const shares: FoundShare[] = []
  const faults: BootError[] = []
  for (const { file, item } of items) {
    const origin = originOf({ file, item })
    const stranger = findStranger(item, state)
    if (stranger !== undefined) {
      faults.push(
        new BootError(
          'KEYSHARES_INVALID',
          `${origin} names another key for operator ${stranger.id} than the SSV contract: it is not used`,
        ),
      )
      continue
    }
    for (const operator of operators) {
      const share = item.data.shares[ownPosition(item, operator) ?? -1]
      if (share === undefined) continue
      shares.push({ operator, share, keyShare: keyShareOf(item.publicKey, item.data.shares, share), origin })
    }
  }
  return { shares, faults }
}

function keyShareOf(publicKey: Uint8Array, shares: readonly SsvShare[], own: SsvShare): KeyShare {
  return {
    validatorPublicKey: toHex(publicKey),
    shareIndex: own.operatorId,
    publicKeyShares: shares.map(({ operatorId, publicKeyShare }) => ({
      share_index: operatorId,
      public_key_share: toHex(publicKeyShare),
    })),
    withdrawalAddress: undefined,
  }
}
