/**
 * Key shares in remote signers (protocol section 13): no private key comes into this process.
 *
 * The signers list their public keys; those that stand in the cluster lock are the key shares, and every signature is verified under
 * the share's public key before anybody sees it.
 */

import type { Network } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock.ts'
import type { RemoteSignerConfig } from '../config.ts'
import type { Events } from '../events.ts'
import { idOfShare, isSameShare, type KeyShare, type Keystore } from './keystore.ts'
import { createLockReader, indexLock, keyShareOf, type LockOptions, placesOfAll } from './obol-lock.ts'
import { createSignatureCheck } from './signature-check.ts'
import { signBody } from './signer-api.ts'
import { SignerError } from './signer-error.ts'
import { createSignerPool, type PoolOptions } from './signer-pool.ts'
import { readTlsMaterial } from './signer-tls.ts'

export interface RemoteSignerOptions extends LockOptions, Pick<PoolOptions, 'onChange' | 'onBack'> {
  signer: RemoteSignerConfig
  network: Network
  events: Events
  signal: AbortSignal
}

/** How log lines and errors name where the keys are. */
const PLACE = 'remote signer'

/**
 * Opens the keys of the remote signers. Where none of them answers there are no keys yet: `reload` finds them.
 *
 * @throws {BootError} SIGNER_TLS_INVALID, LOCK_MISSING, LOCK_INVALID, LOCK_NOT_PINNED, KEYS_NOT_IN_LOCK, NODE_INDEX_MIXED,
 * NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG
 */
export async function openRemoteSigner(options: RemoteSignerOptions): Promise<Keystore> {
  const { signer, network, engine, events, signal, onChange, onBack } = options
  const { urls, timeoutMs } = signer
  const readLock = createLockReader(options)
  const start = performance.now()
  await readLock(signer.obol.lockFile)
  const pool = createSignerPool({ urls, timeoutMs, tls: readTlsMaterial(signer.tls), events, onChange, onBack })
  const isRight = createSignatureCheck(engine)
  let keyShares: readonly KeyShare[] = []
  let shareOf = new Map<string, KeyShare>()

  async function find(stop: AbortSignal): Promise<boolean> {
    const lock = await readLock(signer.obol.lockFile)
    const found = matchKeys(await pool.publicKeys(stop), lock, signer.obol.nodeIndexes)
    if (found.length === keyShares.length && found.every((share) => isSameAs(share, shareOf.get(idOfShare(share)))))
      return false
    keyShares = found
    shareOf = new Map(found.map((share) => [idOfShare(share), share]))
    for (const [shareIndex, shares] of Map.groupBy(found, (share) => share.shareIndex)) {
      events.nodeFound(PLACE, shareIndex - 1, shares.length)
      if (shares.length < lock.validators.length) events.keysPartial(PLACE, shares.length, lock.validators.length)
    }
    const nodes = new Set(found.map(({ shareIndex }) => shareIndex)).size
    events.keysLoaded(found.length, nodes, (performance.now() - start) / 1000)
    return true
  }

  try {
    await find(signal)
  } catch (error) {
    // A signer that is away does not stop the boot; what is wrong with its keys does.
    if (!(error instanceof SignerError) || signal.aborted) {
      await pool[Symbol.asyncDispose]()
      throw error
    }
  }
  return {
    get keyShares() {
      return keyShares
    },
    get isAway() {
      return pool.isAway()
    },
    sign(request, stop) {
      const { keyShare, signingRoot: message } = request
      const shares = shareOf.get(idOfShare(keyShare))?.publicKeyShares
      const key = shares?.find(({ share_index }) => share_index === keyShare.shareIndex)?.public_key_share
      if (key === undefined) return Promise.reject(new TypeError('asked to sign with a key share that is not held'))
      const publicKey = fromHex(key, 48)
      const check = (signature: Uint8Array) => isRight({ publicKey, message, signature })
      return pool.sign(key, signBody(network, request), check, stop)
    },
    async reload(stop) {
      pool.renew(readTlsMaterial(signer.tls))
      return find(stop)
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

/** A key of a signer that stands in the lock. */
interface LockKey {
  readonly validator: LockValidator
  /** From 0. */
  readonly places: readonly number[]
}

/**
 * The key shares of the nodes that are meant, among all that signers hold: keys of other clusters and, where node indexes are stated,
 * of other nodes may be there too.
 *
 * @throws {BootError} KEYS_NOT_IN_LOCK, NODE_INDEX_MIXED, NODE_INDEX_UNKNOWN, NODE_INDEX_WRONG
 */
export function matchKeys(keys: ReadonlySet<string>, lock: ClusterLock, stated: readonly number[]): KeyShare[] {
  const index = indexLock(lock)
  const found = [...keys].flatMap((key): LockKey | readonly LockKey[] => index.get(key) ?? [])
  if (found.length === 0)
    throw new BootError(
      'KEYS_NOT_IN_LOCK',
      keys.size === 0
        ? 'the remote signer lists no keys: load the key shares of this node there'
        : `none of the ${keys.size} keys of the remote signer belongs to the cluster lock: are they of another cluster?`,
    )
  const indexes = stated.length > 0 ? stated : [onlyPlace(found, lock.operators.length)]
  return indexes.flatMap((place) => {
    const own = found.filter(({ places }) => places.includes(place))
    if (own.length > 0) return own.map(({ validator }) => keyShareOf(validator, place))
    throw new BootError(
      'NODE_INDEX_WRONG',
      `the node index is set to ${place}, but the remote signer holds the keys of ${nodesOf(found)}: correct or unset OBOL_NODE_INDEX`,
    )
  })
}

/** The one place that all keys stand at. */
function onlyPlace(found: readonly LockKey[], operators: number): number {
  const [first, ...others] = placesOfAll(found, operators)
  if (first === undefined)
    throw new BootError(
      'NODE_INDEX_MIXED',
      `the remote signer holds the keys of ${nodesOf(found)} of the cluster: say which node this is with OBOL_NODE_INDEX`,
    )
  if (others.length > 0)
    throw new BootError(
      'NODE_INDEX_UNKNOWN',
      'with a threshold of 1 all nodes hold the same keys: say which node this is with OBOL_NODE_INDEX',
    )
  return first
}

const nodesOf = (found: readonly LockKey[]): string => {
  const places = [...new Set(found.flatMap(({ places: [place = 0] }) => place))].sort((a, b) => a - b)
  return `${places.length === 1 ? 'node' : 'nodes'} ${places.join(', ')}`
}

const isSameAs = (share: KeyShare, other: KeyShare | undefined) => other !== undefined && isSameShare(share, other)
