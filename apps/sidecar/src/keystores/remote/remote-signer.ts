/**
 * Key shares in remote signers (docs/protocol.md#13-remote-signer): no private key comes into this process.
 *
 * The signers list their public keys; those that stand in the cluster lock, or in the SSV registrations, are the key shares. Every
 * signature is verified under the share's public key before anybody sees it.
 */

import { setImmediate } from 'node:timers/promises'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { fromHex } from '@dvt-relayer/common/hex.ts'
import type { BlsEngine } from '@dvt-relayer/crypto/bls/bls.ts'
import type { RemoteSignerConfig } from '../../config/remote-signer.ts'
import type { SsvConfig } from '../../config/ssv.ts'
import { idOfShare, isSameShare, type KeyShare, type Keystore, type SignRequest } from '../keystore.ts'
import { askPublicKeys, askSignature, askWhetherUp, signBody } from './api.ts'
import { REMOTE_SIGNER } from './holder.ts'
import { createSignerPool, type PoolOptions, type SignerPool } from './pool.ts'
import {
  createLockSource,
  createRegistrationSource,
  type ShareSource,
  type ShareSourceOptions,
} from './share-sources.ts'
import { createSignatureCheck } from './signature-check.ts'
import type { SignatureRequest } from './signer.ts'
import { readTlsMaterial } from './tls.ts'

export interface RemoteSignerOptions extends ShareSourceOptions, Pick<PoolOptions, 'onChange' | 'onBack'> {
  signer: RemoteSignerConfig
  network: Network
  /** Undefined for Obol nodes. */
  ssv: SsvConfig | undefined
}

/** Keys parsed between two looks at the event loop: about 10 ms. */
const SLICE = 32
/**
 * Creates the keystore. Key shares come with the first `reload`, which throws a BootError for what a restart would not mend, and
 * something else where the signers, or what tells whose their keys are, cannot be asked: then the keys come with a later one.
 *
 * @throws {BootError} SIGNER_TLS_INVALID
 */
export async function openRemoteSigner(options: RemoteSignerOptions): Promise<Keystore> {
  const { signer, ssv, network, events, onChange, onBack } = options
  const { urls, timeoutMs, tls } = signer
  const common = { holder: REMOTE_SIGNER, api: { askPublicKeys, askWhetherUp }, events, onChange, onBack }
  const pool = await createSignerPool({ ...common, urls, timeoutMs, tls: readTlsMaterial(tls) })
  return createKeystoreElsewhere({
    engine: options.engine,
    pool,
    source: ssv === undefined ? createLockSource(options) : createRegistrationSource(options, ssv),
    ask: (name, request) => (http, stop) => askSignature(http, name, signBody(network, request), stop),
    beforeReload: () => pool.renew(readTlsMaterial(tls)),
  })
}

interface ElsewhereOptions {
  readonly engine: BlsEngine
  readonly pool: SignerPool
  /** Which of their keys are key shares of ours. */
  readonly source: ShareSource
  /** How a signature is asked for. `name` is the public key of the key share, as signers have it. */
  ask(name: string, request: SignRequest): SignatureRequest['ask']
  beforeReload?(): void
}

/** A keystore whose key shares are elsewhere: what is asked for is verified under the share before anybody sees it. */
export function createKeystoreElsewhere({ engine, pool, source, ask, beforeReload }: ElsewhereOptions): Keystore {
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
    sign(request, stop) {
      const share = shareOf.get(idOfShare(request.keyShare))
      if (share === undefined) return Promise.reject(new TypeError('asked to sign with a key share that is not held'))
      const { publicKey, name } = share
      return pool.sign(
        {
          publicKey: name,
          ask: ask(name, request),
          isRight: (signature) => isRight({ publicKey, message: request.signingRoot, signature }),
        },
        stop,
      )
    },
    async reload(stop) {
      beforeReload?.()
      const match = await source(stop)
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
