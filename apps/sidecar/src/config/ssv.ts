/** The settings of an SSV operator: where its key is, and where the key shares of its validators are found. */

import { resolve } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import type { SettingsOf } from '@dvt-relayer/common/settings.ts'
import { custom, integer, list, optional, text, url, withDefault } from '@dvt-relayer/common/settings.ts'
import { parseListedAddress } from '@dvt-relayer/crypto/address.ts'

const seconds = (description: string, example: string) => integer(1, 3600, { description, example })
const operatorId = (description: string, example: string) =>
  integer(1, Number.MAX_SAFE_INTEGER, { description, example })

export const SSV_SETTINGS = {
  SSV_OPERATOR_KEY_FILE: optional(
    text({
      description: "the operator's RSA key: encrypted_private_key.json, or the older private_key",
      example: './encrypted_private_key.json',
    }),
    'required for SSV',
  ),
  SSV_OPERATOR_PASSWORD_FILE: optional(
    text({ description: 'password of the operator key file; an older private_key has none', example: './password' }),
  ),
  SSV_OPERATOR_KEY_FILE_TEMPLATE: optional(
    text({
      description: 'instead of SSV_OPERATOR_KEY_FILE, a path with {operator_id} in it',
      example: './operators/{operator_id}/encrypted_private_key.json',
    }),
  ),
  SSV_OPERATOR_PASSWORD_FILE_TEMPLATE: optional(
    text({
      description: 'instead of SSV_OPERATOR_PASSWORD_FILE, a path with {operator_id} in it',
      example: './operators/{operator_id}/password',
    }),
  ),
  SSV_OPERATOR_ID: optional(
    operatorId("the operator's id, which is its share index; an error where the key is another operator's", '263'),
    'found by the key',
  ),
  SSV_OPERATOR_IDS: withDefault(
    list(operatorId('several operators in one process, comma separated, for tests', '263,280,281,282')),
    [],
    '',
  ),
  SSV_OWNERS: withDefault(
    list(
      custom((value: string) => parseListedAddress(value, 'owners'), {
        description:
          'owners whose validators count, comma separated; unset, those of anybody who registers one with this operator',
        example: '0xA4F91B1F8eaAaE1396bD088561D29FE99357b305',
      }),
    ),
    [],
    '',
  ),
  SSV_KEYSHARES_FILES: withDefault(
    list(
      text({
        description:
          'keyshares files, and folders of them (keyshares*.json), comma separated: key shares without an execution node',
        example: './keyshares.json',
      }),
    ),
    [],
    '',
  ),
  SSV_PROOFS_FILES: withDefault(
    list(
      text({
        description:
          'proofs.json of a DKG, comma separated, which must prove every validator of SSV_KEYSHARES_FILES; unset, the proofs.json beside a keyshares file proves those of that file',
        example: './proofs.json',
      }),
    ),
    [],
    '',
  ),
  SSV_STATE_FILE: withDefault(
    text({
      description: "what has been read of the chain's SSV events; where it is missing they are read anew",
      example: './data/ssv-state.json',
    }),
    './data/ssv-state.json',
  ),
  EXECUTION_ENDPOINT: withDefault(
    list(
      url({
        description: 'execution node URLs, comma separated; set, SSV key shares are found on the chain',
        example: 'http://127.0.0.1:8545',
      }),
    ),
    [],
    '',
  ),
  EXECUTION_TIMEOUT: withDefault(seconds('seconds one request to the execution node may take', '30'), 30),
  EXECUTION_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '60'), 60),
}
type Values = SettingsOf<typeof SSV_SETTINGS>

/** Where one SSV operator's key is. */
export interface SsvOperatorSource {
  readonly keyFile: string
  readonly passwordFile: string | undefined
  /** Undefined: every id that is found for the key. */
  readonly operatorId: number | undefined
}

/** Where the key shares of SSV operators are found: in files, on the chain, or both. */
export interface SsvSources {
  /** 20 bytes each; empty: anybody. */
  readonly owners: readonly Uint8Array[]
  /** Files, and folders of them. */
  readonly keysharesFiles: readonly string[]
  /** Empty: `proofs.json` beside each keyshares file, where there is one. */
  readonly proofsFiles: readonly string[]
  /** Undefined: the chain is not asked. */
  readonly chain:
    | {
        endpoints: readonly URL[]
        timeoutMs: number
        retryTimeoutMs: number
        stateFile: string
        /** The state file is read and never written. */
        isReadOnly?: boolean
      }
    | undefined
}

export interface SsvConfig extends SsvSources {
  readonly operators: readonly SsvOperatorSource[]
}

/** What is wrong between settings that are each fine alone. */
export function ssvProblems(values: Values, network: Network, isRemote: boolean): string[] {
  const problems: string[] = []
  const { SSV_OPERATOR_KEY_FILE_TEMPLATE: template, SSV_OPERATOR_ID: id, SSV_OPERATOR_IDS: ids } = values
  const hasKeyFile = values.SSV_OPERATOR_KEY_FILE !== undefined || template !== undefined
  if (isRemote && hasKeyFile)
    problems.push('SSV_OPERATOR_KEY_FILE and REMOTE_SIGNER_URL are both set: keep the one that holds the key shares')
  if (isRemote && id === undefined && ids.length === 0)
    problems.push('SSV_OPERATOR_ID is required with REMOTE_SIGNER_URL, for example SSV_OPERATOR_ID=263')
  if (!isRemote && !hasKeyFile)
    problems.push('SSV_OPERATOR_KEY_FILE is required, for example SSV_OPERATOR_KEY_FILE=./encrypted_private_key.json')
  for (const name of ['SSV_OPERATOR_KEY_FILE', 'SSV_OPERATOR_PASSWORD_FILE'] as const) {
    const path = values[`${name}_TEMPLATE`]
    if (path === undefined) continue
    if (values[name] !== undefined) problems.push(`${name} and ${name}_TEMPLATE are both set: keep one`)
    if (!path.includes('{operator_id}')) problems.push(`${name}_TEMPLATE must contain {operator_id}`)
    if (id === undefined && ids.length === 0)
      problems.push(`${name}_TEMPLATE needs SSV_OPERATOR_ID or SSV_OPERATOR_IDS`)
  }
  if (id !== undefined && ids.length > 0) problems.push('SSV_OPERATOR_ID and SSV_OPERATOR_IDS are both set: keep one')
  if (new Set(ids).size !== ids.length) problems.push('SSV_OPERATOR_IDS names an operator twice')
  if (ids.length > 1 && template === undefined && !isRemote)
    problems.push(
      'SSV_OPERATOR_IDS needs SSV_OPERATOR_KEY_FILE_TEMPLATE, for example SSV_OPERATOR_KEY_FILE_TEMPLATE=./operators/{operator_id}/encrypted_private_key.json',
    )
  if (values.EXECUTION_ENDPOINT.length === 0 && values.SSV_KEYSHARES_FILES.length === 0)
    problems.push(
      'CLUSTER_TYPE=SSV needs EXECUTION_ENDPOINT, to find key shares on the chain, or SSV_KEYSHARES_FILES, or both',
    )
  if (values.EXECUTION_ENDPOINT.length > 0 && network.ssvNetwork === undefined)
    problems.push(
      `EXECUTION_ENDPOINT is set, but NETWORK=${network.name} has no SSV contract: unset it and set SSV_KEYSHARES_FILES`,
    )
  if (values.SSV_PROOFS_FILES.length > 0 && values.SSV_KEYSHARES_FILES.length === 0)
    problems.push('SSV_PROOFS_FILES needs SSV_KEYSHARES_FILES')
  return problems
}

/** The config of settings without problems. */
export function ssvConfig(values: Values): SsvConfig {
  const ids = values.SSV_OPERATOR_IDS.length > 0 ? values.SSV_OPERATOR_IDS : [values.SSV_OPERATOR_ID]
  const pathOf = (name: 'SSV_OPERATOR_KEY_FILE' | 'SSV_OPERATOR_PASSWORD_FILE', id: number | undefined) => {
    const path = values[name] ?? values[`${name}_TEMPLATE`]?.replaceAll('{operator_id}', String(id))
    return path === undefined ? undefined : resolve(path)
  }
  const { EXECUTION_ENDPOINT: endpoints } = values
  return {
    operators: ids.map((operatorId) => ({
      keyFile: pathOf('SSV_OPERATOR_KEY_FILE', operatorId) ?? '',
      passwordFile: pathOf('SSV_OPERATOR_PASSWORD_FILE', operatorId),
      operatorId,
    })),
    owners: values.SSV_OWNERS,
    keysharesFiles: values.SSV_KEYSHARES_FILES.map((path) => resolve(path)),
    proofsFiles: values.SSV_PROOFS_FILES.map((path) => resolve(path)),
    chain:
      endpoints.length === 0
        ? undefined
        : {
            endpoints,
            timeoutMs: values.EXECUTION_TIMEOUT * 1000,
            retryTimeoutMs: values.EXECUTION_RETRY_TIMEOUT * 1000,
            stateFile: resolve(values.SSV_STATE_FILE),
          },
  }
}
