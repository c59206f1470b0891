/** Files of certificates (PEM), as settings name them. */

import { X509Certificate } from 'node:crypto'
import { type BootError, reasonOf } from '@dvt-relayer/common/errors.ts'
import { readAsciiSync } from '@dvt-relayer/common/files/text-file.ts'

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g

/** What is wrong with a PEM file: the code is that of whoever needs it. */
export type PemError = (message: string) => BootError

/** The text of the file that the setting `name` names. @throws what `invalid` makes of a reason */
export function readPem(name: string, file: string, invalid: PemError): string {
  try {
    return readAsciiSync(file)
  } catch (error) {
    throw invalid(`${file} cannot be read (${reasonOf(error)}); ${name} must name a PEM file this user may read`)
  }
}

/** The certificates of a text, of which there is one at least. @throws what `invalid` makes of a reason */
export function certificatesOf(pem: string, name: string, file: string, invalid: PemError): X509Certificate[] {
  try {
    const certificates = (pem.match(PEM_CERTIFICATE) ?? []).map((text) => new X509Certificate(text))
    if (certificates.length > 0) return certificates
  } catch {
    // Said below.
  }
  throw invalid(`${file} (${name}) holds no certificate: it must be a PEM file with BEGIN CERTIFICATE in it`)
}
