/** Opens the keys where they are: keystores of Obol nodes, remote signers, a validator client, or SSV operators. */

import { BootError, messageOf } from '@dvt-relayer/common/errors.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import type { SidecarConfig } from './config.ts'
import type { Events } from './events.ts'
import { openKeymanager } from './keystores/keymanager/keymanager.ts'
import type { Keystore } from './keystores/keystore.ts'
import { openObolKeystore } from './keystores/obol/obol.ts'
import { REMOTE_SIGNER } from './keystores/remote/holder.ts'
import { openRemoteSigner } from './keystores/remote/remote-signer.ts'
import { openSsvKeystore } from './keystores/ssv/ssv.ts'

export interface OpenParts {
  readonly events: Events
  readonly signal: AbortSignal
  /** Told why no remote signer can be relied on, undefined when one can. */
  onSignerChange?(problem: string | undefined): void
  /** Told when a remote signer may be asked again. */
  onSignerBack?(): void
}

/**
 * Opens the keys.
 *
 * @returns `problem`: why keys may be missing that a later look will find
 * @throws {BootError} a restart would not help
 */
export async function openKeystore(
  { obol: { nodes, lockHashes }, ssv, network, remoteSigner, keymanager }: SidecarConfig,
  { events, signal, onSignerChange = () => {}, onSignerBack = () => {} }: OpenParts,
): Promise<{ keystore: Keystore; problem?: string }> {
  const told = { onChange: onSignerChange, onBack: onSignerBack }
  const common = { lockHashes, network, engine: createBlstEngine(), events, signal }
  if (remoteSigner !== undefined)
    return lookFirst(
      await openRemoteSigner({ ...common, ssv, holder: REMOTE_SIGNER, signer: remoteSigner, ...told }),
      events,
      signal,
    )
  if (keymanager !== undefined)
    return lookFirst(await openKeymanager({ ...common, keymanager, ...told }), events, signal)
  if (ssv !== undefined) return lookFirst(await openSsvKeystore({ ...common, ssv }), events, signal)
  return { keystore: await openObolKeystore({ ...common, nodes }) }
}

/** The first look for key shares: an execution node or remote signer that is away does not stop the boot. @throws {BootError} */
async function lookFirst(
  keystore: Keystore,
  events: Events,
  signal: AbortSignal,
): Promise<{ keystore: Keystore; problem?: string }> {
  const start = performance.now()
  let problem: string | undefined
  try {
    await keystore.reload(signal)
  } catch (error) {
    if (error instanceof BootError || signal.aborted) {
      await keystore[Symbol.asyncDispose]()
      throw error
    }
    problem = messageOf(error)
  }
  const nodes = new Set(keystore.keyShares.map(({ shareIndex }) => shareIndex)).size
  events.keysLoaded(keystore.keyShares.length, nodes, (performance.now() - start) / 1000)
  return { keystore, ...(problem === undefined ? {} : { problem }) }
}
