/** TLS to remote signers: the files of certificates and key, and what handshakes that fail mean. */

import { createPrivateKey } from 'node:crypto'
import { BootError } from '@dvt-relayer/common/errors.ts'
import type { RemoteSignerConfig } from '../../config/remote-signer.ts'
import { certificatesOf, readPem } from '../../pem.ts'
import type { Holder } from './holder.ts'

/** PEM texts, as node:tls takes them; undefined is the system's certificates, or no client certificate. */
export interface TlsMaterial {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  /** When the client certificate ends, Unix milliseconds. */
  readonly certEndsAt: number | undefined
}

/** The certificates that Node trusts, and none of our own. */
export const NO_TLS_FILES: TlsMaterial = { ca: undefined, cert: undefined, key: undefined, certEndsAt: undefined }

/**
 * Reads the files and sees that certificate and key belong together.
 *
 * @throws {BootError} SIGNER_TLS_INVALID; nothing of the key's text is in it
 */
export function readTlsMaterial({ caFile, certFile, keyFile }: RemoteSignerConfig['tls']): TlsMaterial {
  const ca = caFile === undefined ? undefined : readPem('REMOTE_SIGNER_CA_FILE', caFile, invalid)
  const cert = certFile === undefined ? undefined : readPem('REMOTE_SIGNER_CERT_FILE', certFile, invalid)
  const key = keyFile === undefined ? undefined : readPem('REMOTE_SIGNER_KEY_FILE', keyFile, invalid)
  if (ca !== undefined) certificatesOf(ca, 'REMOTE_SIGNER_CA_FILE', caFile ?? '', invalid)
  if (cert === undefined || key === undefined) return { ca, cert, key, certEndsAt: undefined }
  const [own] = certificatesOf(cert, 'REMOTE_SIGNER_CERT_FILE', certFile ?? '', invalid)
  if (own?.checkPrivateKey(parseKey(key, keyFile ?? '')) !== true)
    throw invalid(`the key in ${keyFile} (REMOTE_SIGNER_KEY_FILE) is not that of the certificate in ${certFile}`)
  return { ca, cert, key, certEndsAt: own.validToDate.getTime() }
}

const invalid = (message: string) => new BootError('SIGNER_TLS_INVALID', message)

function parseKey(pem: string, file: string) {
  try {
    return createPrivateKey(pem)
  } catch {
    // No cause: an error about a key says nothing but that.
    const isEncrypted = /ENCRYPTED/.test(pem)
    throw invalid(
      `${file} (REMOTE_SIGNER_KEY_FILE) ${isEncrypted ? 'is encrypted: it must be a PEM key without a password, for this user alone' : 'holds no private key: it must be a PEM file with BEGIN PRIVATE KEY in it'}`,
    )
  }
}

/** What is wrong with a handshake that failed with this code of Node or OpenSSL; undefined for what is no matter of TLS. */
export function tlsProblemOf(
  code: string,
  { certEndsAt, cert }: TlsMaterial,
  { settings }: Pick<Holder, 'settings'>,
): string | undefined {
  const ended = certEndsAt !== undefined && certEndsAt < Date.now() ? ', which has expired' : ''
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired'
  if (code === 'CERT_NOT_YET_VALID') return 'its certificate is not valid yet: is the clock right?'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is for another name than the host in ${settings.url}`
  if (/SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|CERT_(UNTRUSTED|SIGNATURE_FAILURE)|INVALID_CA/.test(code))
    return `its certificate is not signed by a CA that this sidecar trusts: is it the one of ${settings.ca}?`
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST/.test(code)) return 'it does not speak TLS'
  if (!/^ERR_SSL|^EPROTO|^ECONNRESET$|^EPIPE$/.test(code)) return undefined
  if (cert === undefined && /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/.test(code))
    return `it asks for a client certificate: set ${settings.cert} and ${settings.key}`
  if (/ALERT/.test(code)) return `it refuses our client certificate${ended} (${settings.cert})`
  const hint =
    cert === undefined
      ? 'perhaps it asks for a client certificate'
      : `perhaps it refuses our client certificate${ended}`
  return `it closes the connection: ${hint} (${settings.cert})`
}
