/** Which of the keys of remote signers are key shares of ours: by the cluster lock of Obol nodes, or the registrations of SSV operators. */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { RemoteSignerConfig } from '../../config/remote-signer.ts'
import type { SsvConfig } from '../../config/ssv.ts'
import type { Events } from '../../events.ts'
import type { KeyShare } from '../keystore.ts'
import { createLockReader, indexLock, keyShareOf, type LockOptions, onePosition } from '../obol/lock.ts'
import { createSsvSource } from '../ssv/source.ts'
import type { Holder } from './holder.ts'

export interface ShareSourceOptions extends LockOptions {
  /** How log lines and errors name where the keys are. */
  holder: Pick<Holder, 'name'>
  signer: Pick<RemoteSignerConfig, 'obol'>
  network: Network
  events: Events
}

/** Reads whose key shares count, and says which of the keys of signers they are, and what is wrong now. */
export type ShareSource = (
  signal: AbortSignal,
) => Promise<(keys: ReadonlySet<string>) => { found: KeyShare[]; problem?: Error }>

/** The key shares of Obol nodes: what their lock says of the keys. */
export function createLockSource(options: ShareSourceOptions): ShareSource {
  const {
    events,
    signer,
    holder: { name },
  } = options
  const { lockFile, nodeIndexes } = signer.obol ?? { lockFile: '', nodeIndexes: [] }
  const readLock = createLockReader(options)
  let told = ''
  return async () => {
    const lock = await readLock(lockFile)
    return (keys) => {
      const found = matchKeys(name, keys, lock, nodeIndexes)
      const nodes = [...Map.groupBy(found, ({ shareIndex }) => shareIndex)]
      const news = nodes.map(([shareIndex, shares]) => `${shareIndex}:${shares.length}`).join()
      if (news !== told)
        for (const [shareIndex, { length }] of nodes) {
          events.nodeFound(name, shareIndex - 1, length)
          if (length < lock.validators.length) events.keysPartial(name, length, lock.validators.length)
        }
      told = news
      return { found }
    }
  }
}

/** The key shares of SSV operators: what their registrations, on the chain or in files, say of the keys. */
export function createRegistrationSource(options: ShareSourceOptions, ssv: SsvConfig): ShareSource {
  const operators = ssv.operators.map(({ operatorId: id }) => ({
    id,
    publicKey: undefined,
    name: `operator ${id}`,
  }))
  const source = createSsvSource({ ...options, sources: ssv, operators })
  if (ssv.owners.length === 0) options.events.anyOwner()
  return async (signal) => {
    const { shares, problems } = await source.look(signal)
    return (keys) => {
      const own = shares.map(({ keyShare }) => keyShare)
      const found = own.filter(({ publicKeyShares, shareIndex }) =>
        publicKeyShares.some(
          ({ share_index, public_key_share }) => share_index === shareIndex && keys.has(public_key_share),
        ),
      )
      const isStrange = own.length > 0 && found.length === 0
      const names = operators.map(({ name }) => name).join(', ')
      const [
        problem = isStrange ? keysOfOthers(options.holder.name, keys.size, `is a key share of ${names}`) : undefined,
      ] = problems
      return { found, ...(problem === undefined ? {} : { problem }) }
    }
  }
}

const keysOfOthers = (name: string, count: number, whose: string) =>
  new BootError(
    'SIGNER_KEYS_OF_OTHERS',
    count === 0
      ? `the ${name} lists no keys: load the key shares of this node there`
      : `none of the ${count} keys of the ${name} ${whose}: are they of another cluster or node?`,
  )

/** A key of a signer that stands in the lock. */
interface LockKey {
  readonly validator: LockValidator
  /** From 0. */
  readonly positions: readonly number[]
}

/**
 * The key shares of the nodes that are meant, among all that signers hold: keys of other clusters and, where node indexes are stated,
 * of other nodes may be there too.
 *
 * @throws {BootError} SIGNER_KEYS_OF_OTHERS, NODE_INDEX_MIXED, NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG
 */
function matchKeys(name: string, keys: ReadonlySet<string>, lock: ClusterLock, stated: readonly number[]): KeyShare[] {
  const index = indexLock(lock)
  const found = [...keys].flatMap((key): LockKey | readonly LockKey[] => index.get(key) ?? [])
  if (found.length === 0) throw keysOfOthers(name, keys.size, 'stands in the cluster lock')
  const only = () =>
    onePosition(found, lock.operators.length, {
      mixed: () =>
        `the ${name} holds the keys of ${nodesOf(found)} of the cluster: say which node this is with OBOL_NODE_INDEX`,
      ambiguous: () =>
        'with a threshold of 1 all nodes hold the same keys: say which node this is with OBOL_NODE_INDEX',
    })
  const indexes = stated.length > 0 ? stated : [only()]
  return indexes.flatMap((position) => {
    const own = found.filter(({ positions }) => positions.includes(position))
    if (own.length > 0) return own.map(({ validator }) => keyShareOf(validator, position))
    throw new BootError(
      'NODE_INDEX_WRONG',
      `the node index is set to ${position}, but the ${name} holds the keys of ${nodesOf(found)}: correct or unset OBOL_NODE_INDEX`,
    )
  })
}

const nodesOf = (found: readonly LockKey[]): string => {
  const positions = [...new Set(found.flatMap(({ positions: [position = 0] }) => position))].sort((a, b) => a - b)
  return `${positions.length === 1 ? 'node' : 'nodes'} ${positions.join(', ')}`
}
