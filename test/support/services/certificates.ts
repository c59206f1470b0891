/** Throwaway certificates (X.509 v3, ECDSA P-256) for tests of TLS, written out in DER: no library, no files to expire. */

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** A certificate and its key as PEM. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
}
export interface TestCa extends TestCertificate {
  /** A certificate for 127.0.0.1 that serves servers and clients; `ended` is one that expired yesterday. */
  issue(name: string, options?: { ended?: boolean }): TestCertificate
}

const DAY_MS = 86_400_000

/** One DER value: tag, length, content. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts)
const hex = (text: string) => Buffer.from(text, 'hex')
/** Object identifiers by their DER content. */
const oid = (text: string) => der(0x06, hex(text))
const ECDSA_SHA256 = sequence(oid('2a8648ce3d040302'))

const nameOf = (name: string) => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(name)))))
/** GeneralizedTime, `YYYYMMDDhhmmssZ`. */
const timeOf = (ms: number) => der(0x18, Buffer.from(`${new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14)}Z`))
const extension = (id: string, value: Uint8Array, isCritical = false) =>
  sequence(oid(id), ...(isCritical ? [der(0x01, hex('ff'))] : []), der(0x04, value))

interface Issuer {
  readonly name: string
  readonly key: KeyObject
}

function make(subject: Issuer, publicKey: KeyObject, issuer: Issuer, days: [number, number], extensions: Buffer[]) {
  const now = Date.now()
  const body = sequence(
    der(0xa0, der(0x02, hex('02'))),
    der(0x02, Buffer.concat([hex('01'), randomBytes(8)])),
    ECDSA_SHA256,
    nameOf(issuer.name),
    sequence(timeOf(now + days[0] * DAY_MS), timeOf(now + days[1] * DAY_MS)),
    nameOf(subject.name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const signature = sign('sha256', body, issuer.key)
  const certificate = sequence(body, ECDSA_SHA256, der(0x03, hex('00'), signature))
  const lines = certificate.toString('base64').replace(/.{64}/g, '$&\n')
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: subject.key.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** Makes a certificate authority. */
export function makeCa(name: string): TestCa {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer: Issuer = { name, key: privateKey }
  const isCa = extension('551d13', sequence(der(0x01, hex('ff'))), true)
  return {
    ...make(issuer, publicKey, issuer, [-2, 365], [isCa]),
    issue(subjectName, { ended = false } = {}) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const localhost = extension('551d11', sequence(der(0x87, hex('7f000001'))))
      const subject: Issuer = { name: subjectName, key: pair.privateKey }
      return make(subject, pair.publicKey, issuer, ended ? [-10, -1] : [-2, 365], [localhost])
    },
  }
}
