/**
 * Key shares in a validator client behind charon (docs/protocol.md#keymanager-api): no private key comes into this process, and no other
 * program than that client need hold them.
 *
 * It signs exits, and none but of validators that its beacon node knows: charon tells it the index of the validator whose share key it has.
 * Exits are asked for at Capella's epoch. There, the domain by the fork of that epoch, as clients took it before EIP-7044, and that by EIP-7044
 * (Capella's fork version for ever) are one, but for networks that were past Capella at that epoch already: then only a client that keeps to
 * EIP-7044 signs what verifies. Everything is verified under the share's public key, whatever the client is.
 */

import type { KeymanagerConfig } from '../../config/keymanager.ts'
import type { Keystore } from '../keystore.ts'
import { SignerError } from '../remote/error.ts'
import type { Holder } from '../remote/holder.ts'
import { createSignerPool, type PoolOptions } from '../remote/pool.ts'
import { createKeystoreElsewhere } from '../remote/remote-signer.ts'
import { createLockSource, type ShareSourceOptions } from '../remote/share-sources.ts'
import { NO_TLS_FILES } from '../remote/tls.ts'
import { askExit, askPublicKeys, askWhetherUp } from './api.ts'

/** It signs by itself, or with a signer of its own. */
const TIMEOUT_MS = 10_000

const VALIDATOR_CLIENT: Holder = {
  name: 'validator client',
  // Its certificates are those that Node trusts.
  settings: { url: 'KEYMANAGER_URL', ca: 'NODE_EXTRA_CA_CERTS', cert: 'KEYMANAGER_URL', key: 'KEYMANAGER_URL' },
  wrong:
    ': it is of another key than this key share, or made under another fork version than that of Capella, which every exit has since Deneb (EIP-7044): is the client up to date, and of this network?',
}

/** How a validator client is asked, for all who ask one. */
export const keymanagerOptions = ({ token }: Pick<KeymanagerConfig, 'token'>) => ({
  holder: VALIDATOR_CLIENT,
  timeoutMs: TIMEOUT_MS,
  tls: NO_TLS_FILES,
  headers: { authorization: `Bearer ${token}` },
})

interface KeymanagerOptions
  extends Omit<ShareSourceOptions, 'signer' | 'holder'>,
    Pick<PoolOptions, 'onChange' | 'onBack'> {
  keymanager: KeymanagerConfig
}

/** Creates the keystore. Key shares come with the first `reload`, which throws as that of remote signers does. */
export async function openKeymanager(options: KeymanagerOptions): Promise<Keystore> {
  const { keymanager, engine, events, onChange, onBack } = options
  const pool = await createSignerPool({
    ...keymanagerOptions(keymanager),
    ...{ api: { askPublicKeys, askWhetherUp }, urls: [keymanager.url], events, onChange, onBack },
  })
  return createKeystoreElsewhere({
    engine,
    pool,
    source: createLockSource({ ...options, holder: VALIDATOR_CLIENT, signer: keymanager }),
    ask: (name, { message }) => {
      // No list of deposits is followed with such keys: this is the last fence.
      if (message.kind !== 'exit')
        return () => Promise.reject(new SignerError('refused', 'a validator client signs no deposits'))
      return (http, signal) => askExit(http, name, message, signal)
    },
  })
}
