import { expect, it } from 'vitest'
import { REMOTE_SIGNER } from './holder.ts'
import { NO_TLS_FILES, tlsProblemOf } from './tls.ts'

const OWN = { ...NO_TLS_FILES, cert: 'pem', key: 'pem', certEndsAt: Date.now() + 3_600_000 }
const ENDED = { ...OWN, certEndsAt: Date.now() - 1 }

it.each<[string, typeof NO_TLS_FILES, string | undefined]>([
  ['CERT_HAS_EXPIRED', OWN, 'its certificate has expired'],
  ['CERT_NOT_YET_VALID', OWN, 'its certificate is not valid yet: is the clock right?'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', OWN, 'its certificate is for another name than the host in REMOTE_SIGNER_URL'],
  [
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    OWN,
    'its certificate is not signed by a CA that this sidecar trusts: is it the one of REMOTE_SIGNER_CA_FILE?',
  ],
  ['EPROTO_WRONG_VERSION_NUMBER', OWN, 'it does not speak TLS'],
  [
    'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    NO_TLS_FILES,
    'it asks for a client certificate: set REMOTE_SIGNER_CERT_FILE and REMOTE_SIGNER_KEY_FILE',
  ],
  ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', OWN, 'it refuses our client certificate (REMOTE_SIGNER_CERT_FILE)'],
  [
    'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
    ENDED,
    'it refuses our client certificate, which has expired (REMOTE_SIGNER_CERT_FILE)',
  ],
  [
    'ECONNRESET',
    NO_TLS_FILES,
    'it closes the connection: perhaps it asks for a client certificate (REMOTE_SIGNER_CERT_FILE)',
  ],
  ['ECONNRESET', OWN, 'it closes the connection: perhaps it refuses our client certificate (REMOTE_SIGNER_CERT_FILE)'],
  [
    'EPIPE',
    ENDED,
    'it closes the connection: perhaps it refuses our client certificate, which has expired (REMOTE_SIGNER_CERT_FILE)',
  ],
  ['ECONNREFUSED', OWN, undefined],
])('a handshake that fails with %s means %#', (code, tls, meaning) => {
  expect(tlsProblemOf(code, tls, REMOTE_SIGNER)).toBe(meaning)
})
