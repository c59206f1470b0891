import { createPrivateKey } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeCa } from '../../../../../test/support/services/certificates.ts'
import { REMOTE_SIGNER } from './holder.ts'
import { NO_TLS_FILES, readTlsMaterial, tlsProblemOf } from './tls.ts'

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

describe('files of TLS', () => {
  const ca = makeCa('signers')
  const own = ca.issue('sidecar')
  const texts = {
    ...{ ca: ca.cert, cert: own.cert, key: own.key, other: ca.issue('other').key, text: 'no PEM' },
    locked: String(
      createPrivateKey(own.key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hush' }),
    ),
  }
  type Name = keyof typeof texts
  let dir = ''
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'signer-tls-'))
    for (const [name, text] of Object.entries(texts)) await writeFile(join(dir, name), text)
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  const fileOf = (name: string | undefined) => (name === undefined ? undefined : join(dir, name))
  const read = (caFile?: Name, certFile?: Name, keyFile?: Name) =>
    readTlsMaterial({ caFile: fileOf(caFile), certFile: fileOf(certFile), keyFile: fileOf(keyFile) })

  it('are read as far as they are named, and a certificate with its key until it ends', () => {
    expect(read()).toEqual(NO_TLS_FILES)
    expect(read('ca')).toEqual({ ...NO_TLS_FILES, ca: texts.ca })
    // One without the other is no client certificate yet.
    expect(read(undefined, 'cert')).toEqual({ ...NO_TLS_FILES, cert: texts.cert })
    expect(read('ca', undefined, 'key')).toEqual({ ...NO_TLS_FILES, ca: texts.ca, key: texts.key })
    const { certEndsAt, ...read3 } = read('ca', 'cert', 'key')
    expect(read3).toEqual({ ca: texts.ca, cert: texts.cert, key: texts.key })
    expect((certEndsAt ?? 0) - Date.now()).toBeGreaterThan(364 * 86_400_000)
  })

  it.each<[string, readonly (Name | undefined)[], string]>([
    ['no CA', ['text'], 'text (REMOTE_SIGNER_CA_FILE) holds no certificate'],
    ['no certificate', [undefined, 'text', 'key'], 'text (REMOTE_SIGNER_CERT_FILE) holds no certificate'],
    ['no key', [undefined, 'cert', 'text'], 'text (REMOTE_SIGNER_KEY_FILE) holds no private key'],
    ['a key under a password', [undefined, 'cert', 'locked'], 'locked (REMOTE_SIGNER_KEY_FILE) is encrypted'],
    ['the key of another', [undefined, 'cert', 'other'], 'is not that of the certificate in'],
  ])('that hold %s are refused', (_, [caFile, certFile, keyFile], words) => {
    const refused = expect.objectContaining({ code: 'SIGNER_TLS_INVALID', message: expect.stringContaining(words) })
    expect(() => read(caFile, certFile, keyFile)).toThrow(refused)
  })
})
