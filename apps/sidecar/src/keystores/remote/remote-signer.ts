/**
 * Key shares in remote signers (docs/protocol.md#13-remote-signer): no private key comes into this process.
 *
 * The signers list their public keys; those that stand in the cluster lock, or in the SSV registrations, are the key shares. Every
 * signature is verified under the share's public key before anybody sees it.
 */

import { setImmediate } from 'node:timers/promises'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { ClusterLock, LockValidator } from '@dvt-relayer/crypto/cluster-lock/cluster-lock.ts'
import type { RemoteSignerConfig } from '../../config.ts'
import type { SsvConfig } from '../../config-ssv.ts'
import type { Events } from '../../events.ts'
import { idOfShare, isSameShare, type KeyShare, type Keystore } from '../obol/keystore.ts'
import { createLockReader, indexLock, keyShareOf, type LockOptions, placesOfAll } from '../obol/lock.ts'
import { createSignatureCheck } from '../signature-check.ts'
import { createSsvSource } from '../ssv/source.ts'
import { signBody } from './api.ts'
import { createSignerPool, type PoolOptions, type SignerPool } from './pool.ts'
import { readTlsMaterial } from './tls.ts'

export interface RemoteSignerOptions extends LockOptions, Pick<PoolOptions, 'onChange' | 'onBack'> {
  signer: RemoteSignerConfig
  /** Undefined for Obol nodes. */
  ssv: SsvConfig | undefined
  network: Network
  events: Events
}

/** A keystore of remote signers, and how they are doing. */
export interface RemoteKeystore extends Keystore, Pick<SignerPool, 'states'> {}

/** Reads whose key shares count, and says which of the keys of signers they are, and what is wrong now. */
type Source = (signal: AbortSignal) => Promise<(keys: ReadonlySet<string>) => { found: KeyShare[]; problem?: Error }>

/** Keys parsed between two looks at the event loop: about 10 ms. */
const SLICE = 32
/** How log lines and errors name where the keys are. */
const PLACE = 'remote signer'

/**
 * Creates the keystore. Key shares come with the first `reload`, which throws a BootError for what a restart would not mend, and
 * something else where the signers, or what tells whose their keys are, cannot be asked: then the keys come with a later one.
 *
 * @throws {BootError} SIGNER_TLS_INVALID
 */
export function openRemoteSigner(options: RemoteSignerOptions): RemoteKeystore {
  const { signer, ssv, network, engine, events, onChange, onBack } = options
  const { urls, timeoutMs, tls } = signer
  const pool = createSignerPool({ urls, timeoutMs, tls: readTlsMaterial(tls), events, onChange, onBack })
  const readSource = ssv === undefined ? createLockSource(options) : createRegistrationSource(options, ssv)
  const isRight = createSignatureCheck(engine)
  let keyShares: readonly KeyShare[] = []
  let shareOf = new Map<string, RemoteShare>()

  async function replace(found: readonly KeyShare[]): Promise<boolean> {
    const isHeld = (share: KeyShare) => {
      const held = shareOf.get(idOfShare(share))?.keyShare
      return held !== undefined && isSameShare(share, held)
    }
    if (found.length === keyShares.length && found.every(isHeld)) return false
    const next = new Map<string, RemoteShare>()
    for (const share of found) {
      next.set(idOfShare(share), remoteShareOf(share, engine))
      if (next.size % SLICE === 0) await setImmediate()
    }
    keyShares = found
    shareOf = next
    return true
  }

  return {
    get keyShares() {
      return keyShares
    },
    get isAway() {
      return pool.isAway()
    },
    states: pool.states,
    sign(request, stop) {
      const share = shareOf.get(idOfShare(request.keyShare))
      if (share === undefined) return Promise.reject(new TypeError('asked to sign with a key share that is not held'))
      const { publicKey, name } = share
      const check = (signature: Uint8Array) => isRight({ publicKey, message: request.signingRoot, signature })
      return pool.sign(name, signBody(network, request), check, stop)
    },
    async reload(stop) {
      pool.renew(readTlsMaterial(tls))
      const match = await readSource(stop)
      const { found, problem } = match(await pool.publicKeys(stop))
      const isChanged = await replace(found)
      if (problem !== undefined) throw problem
      return isChanged
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  }
}

/** A key share, and what it takes to ask for its signatures. */
interface RemoteShare {
  readonly keyShare: KeyShare
  /** Its public key as signers name it, and its bytes. */
  readonly name: string
  readonly publicKey: Uint8Array
}

/** The bytes are parsed here, and remembered by the engine: a fifth of the price of a signature's check. */
function remoteShareOf(keyShare: KeyShare, engine: Pick<BlsEngine, 'isPublicKey'>): RemoteShare {
  const { publicKeyShares, shareIndex } = keyShare
  const name = publicKeyShares.find(({ share_index }) => share_index === shareIndex)?.public_key_share ?? ''
  const publicKey = fromHex(name, 48)
  engine.isPublicKey(publicKey)
  return { keyShare, name, publicKey }
}

/** The key shares of Obol nodes: what their lock says of the keys. */
function createLockSource(options: RemoteSignerOptions): Source {
  const { events, signer } = options
  const { lockFile, nodeIndexes } = signer.obol ?? { lockFile: '', nodeIndexes: [] }
  const readLock = createLockReader(options)
  let told = ''
  return async () => {
    const lock = await readLock(lockFile)
    return (keys) => {
      const found = matchKeys(keys, lock, nodeIndexes)
      const nodes = [...Map.groupBy(found, ({ shareIndex }) => shareIndex)]
      const news = nodes.map(([shareIndex, shares]) => `${shareIndex}:${shares.length}`).join()
      if (news !== told)
        for (const [shareIndex, { length }] of nodes) {
          events.nodeFound(PLACE, shareIndex - 1, length)
          if (length < lock.validators.length) events.keysPartial(PLACE, length, lock.validators.length)
        }
      told = news
      return { found }
    }
  }
}

/** The key shares of SSV operators: what their registrations, on the chain or in files, say of the keys. */
function createRegistrationSource(options: RemoteSignerOptions, ssv: SsvConfig): Source {
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
      const [problem = isStrange ? keysOfOthers(keys.size, `is a key share of ${names}`) : undefined] = problems
      return { found, ...(problem === undefined ? {} : { problem }) }
    }
  }
}

const keysOfOthers = (count: number, whose: string) =>
  new BootError(
    'SIGNER_KEYS_OF_OTHERS',
    count === 0
      ? 'the remote signer lists no keys: load the key shares of this node there'
      : `none of the ${count} keys of the remote signer ${whose}: are they of another cluster or node?`,
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
export function matchKeys(keys: ReadonlySet<string>, lock: ClusterLock, stated: readonly number[]): KeyShare[] {
  const index = indexLock(lock)
  const found = [...keys].flatMap((key): LockKey | readonly LockKey[] => index.get(key) ?? [])
  if (found.length === 0) throw keysOfOthers(keys.size, 'stands in the cluster lock')
  const indexes = stated.length > 0 ? stated : [onlyPlace(found, lock.operators.length)]
  return indexes.flatMap((position) => {
    const own = found.filter(({ positions }) => positions.includes(position))
    if (own.length > 0) return own.map(({ validator }) => keyShareOf(validator, position))
    throw new BootError(
      'NODE_INDEX_WRONG',
      `the node index is set to ${position}, but the remote signer holds the keys of ${nodesOf(found)}: correct or unset OBOL_NODE_INDEX`,
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
  const positions = [...new Set(found.flatMap(({ positions: [position = 0] }) => position))].sort((a, b) => a - b)
  return `${positions.length === 1 ? 'node' : 'nodes'} ${positions.join(', ')}`
}
