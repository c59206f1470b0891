/** The settings of remote signers: where they are, and the certificates of both sides. */

import { resolve } from 'node:path'
import type { SettingsOf } from '@dvt-relayer/common/settings.ts'
import { integer, list, optional, secret, text, url, withDefault } from '@dvt-relayer/common/settings.ts'
import type { ObolKeys } from './obol.ts'

const seconds = (description: string, example: string) => integer(1, 3600, { description, example })

export const REMOTE_SIGNER_SETTINGS = {
  REMOTE_SIGNER_URL: secret(
    withDefault(
      list(
        url({
          description:
            'remote signers that hold the key shares (the API of Web3Signer), comma separated, tried in turn; credentials in a URL are sent as HTTP Basic authentication',
          example: 'https://signer.example:9000',
        }),
      ),
      [],
      '',
    ),
  ),
  REMOTE_SIGNER_TIMEOUT: withDefault(seconds('seconds one request to a remote signer may take', '10'), 10),
  REMOTE_SIGNER_CA_FILE: optional(
    text({ description: 'certificates (PEM) of the CA that signed those of the remote signers', example: './ca.pem' }),
    "the system's",
  ),
  REMOTE_SIGNER_CERT_FILE: optional(
    text({ description: 'client certificate (PEM) for the remote signers', example: './sidecar.pem' }),
  ),
  REMOTE_SIGNER_KEY_FILE: optional(
    text({ description: 'private key (PEM, not encrypted) of the client certificate', example: './sidecar-key.pem' }),
  ),
}
type Values = SettingsOf<typeof REMOTE_SIGNER_SETTINGS>

/** Where the key shares are when they are not here. */
export interface RemoteSignerConfig {
  readonly urls: readonly URL[]
  readonly timeoutMs: number
  /** Paths of PEM files; certificate and key are both there or neither. */
  readonly tls: {
    readonly caFile: string | undefined
    readonly certFile: string | undefined
    readonly keyFile: string | undefined
  }
  /** Undefined for SSV operators, whose key shares are those of `ssv`. */
  readonly obol: ObolKeys | undefined
}

/** What is wrong with the settings of remote signers. */
export function remoteSignerProblems(values: Values): string[] {
  const { REMOTE_SIGNER_URL: urls, REMOTE_SIGNER_CERT_FILE: cert, REMOTE_SIGNER_KEY_FILE: key } = values
  const files = [values.REMOTE_SIGNER_CA_FILE, cert, key].filter((file) => file !== undefined)
  const problems: string[] = []
  if ((cert === undefined) !== (key === undefined))
    problems.push('REMOTE_SIGNER_CERT_FILE and REMOTE_SIGNER_KEY_FILE belong together: set both or neither')
  if (urls.length === 0) {
    if (files.length > 0)
      problems.push('REMOTE_SIGNER_CA_FILE, REMOTE_SIGNER_CERT_FILE, REMOTE_SIGNER_KEY_FILE need REMOTE_SIGNER_URL')
    return problems
  }
  if (new Set(urls.map(({ host, pathname }) => `${host}${pathname}`)).size !== urls.length)
    problems.push('REMOTE_SIGNER_URL names a signer twice')
  if (files.length > 0 && !urls.some(({ protocol }) => protocol === 'https:'))
    problems.push('REMOTE_SIGNER_URL must start with https:// where certificates are given')
  return problems
}

/** The config of settings without problems; undefined where no remote signer is set. */
export function remoteSignerConfig(values: Values, obol: ObolKeys | undefined): RemoteSignerConfig | undefined {
  const { REMOTE_SIGNER_URL: urls } = values
  if (urls.length === 0) return undefined
  const path = (file: string | undefined) => (file === undefined ? undefined : resolve(file))
  return {
    urls,
    timeoutMs: values.REMOTE_SIGNER_TIMEOUT * 1000,
    tls: {
      caFile: path(values.REMOTE_SIGNER_CA_FILE),
      certFile: path(values.REMOTE_SIGNER_CERT_FILE),
      keyFile: path(values.REMOTE_SIGNER_KEY_FILE),
    },
    obol,
  }
}
