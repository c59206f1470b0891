/** The settings of a validator client that is asked for exits: where it is, and its token. */

import type { SettingsOf } from '@dvt-relayer/common/settings.ts'
import { optional, secret, text, url } from '@dvt-relayer/common/settings.ts'
import type { ObolKeys } from './obol.ts'

export const KEYMANAGER_SETTINGS = {
  KEYMANAGER_URL: optional(
    url({
      description:
        'keymanager API of the validator client behind charon, which signs exits of validators that the chain knows with keys that stay there; OBOL only, with CONSENSUS_ENDPOINT',
      example: 'http://127.0.0.1:5062',
    }),
  ),
  KEYMANAGER_TOKEN: secret(
    optional(
      text({
        description: 'bearer token of the keymanager API, of the file that the client made',
        example: 'api-token-0x…',
      }),
    ),
  ),
}
type Values = SettingsOf<typeof KEYMANAGER_SETTINGS>

/** A validator client that holds the key shares of an Obol node. */
export interface KeymanagerConfig {
  readonly url: URL
  readonly token: string
  readonly obol: ObolKeys
}

/** What the other settings say that a validator client depends on. */
interface Others {
  readonly isSsv: boolean
  readonly hasRemoteSigner: boolean
  readonly hasConsensus: boolean
  readonly generation: string
}

/** What is wrong with the settings of a validator client. */
export function keymanagerProblems({ KEYMANAGER_URL: url, KEYMANAGER_TOKEN: token }: Values, others: Others): string[] {
  if (url === undefined) return token === undefined ? [] : ['KEYMANAGER_TOKEN needs KEYMANAGER_URL']
  const problems: string[] = []
  if (token === undefined)
    problems.push(
      'KEYMANAGER_TOKEN_FILE is required with KEYMANAGER_URL, for example KEYMANAGER_TOKEN_FILE=./api-token.txt',
    )
  else if (!/^[\x21-\x7e]+$/.test(token)) problems.push('KEYMANAGER_TOKEN must be one line of letters without spaces')
  if (url.username !== '' || url.password !== '')
    problems.push('KEYMANAGER_URL must have no credentials in it: KEYMANAGER_TOKEN_FILE names the token')
  if (others.isSsv)
    problems.push('KEYMANAGER_URL means nothing with CLUSTER_TYPE=SSV: SSV nodes have no validator client')
  if (others.hasRemoteSigner)
    problems.push('KEYMANAGER_URL and REMOTE_SIGNER_URL are both set: keep the one that holds the key shares')
  if (!others.hasConsensus)
    problems.push(
      'CONSENSUS_ENDPOINT is required with KEYMANAGER_URL: a validator client signs exits of validators that the chain knows only',
    )
  if (others.generation === '4')
    problems.push('GENERATION=4 wants deposits, which a validator client does not sign: unset it, or KEYMANAGER_URL')
  return problems
}

/** The config of settings without problems; undefined where no validator client is set. */
export function keymanagerConfig(values: Values, obol: ObolKeys | undefined): KeymanagerConfig | undefined {
  const { KEYMANAGER_URL: url, KEYMANAGER_TOKEN: token } = values
  return url === undefined || token === undefined || obol === undefined ? undefined : { url, token, obol }
}
