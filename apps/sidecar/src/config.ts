/** The sidecar's settings: one schema, read into one frozen, grouped config. What is about one source of keys is in `config/`. */

import { resolve } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { EXISTING_IGNORED, LOG_SETTINGS } from '@dvt-relayer/common/log/log-settings.ts'
import type { LogFormat, LogLevel } from '@dvt-relayer/common/log/logger.ts'
import type { Environment, SettingsOf } from '@dvt-relayer/common/settings.ts'
import {
  custom,
  host,
  integer,
  isHint,
  list,
  oneOf,
  optional,
  readSettings,
  secret,
  text,
  url,
  variableOf,
  withDefault,
} from '@dvt-relayer/common/settings.ts'
import { parseListedAddress } from '@dvt-relayer/crypto/address.ts'
import {
  KEYMANAGER_SETTINGS,
  type KeymanagerConfig,
  keymanagerConfig,
  keymanagerProblems,
} from './config/keymanager.ts'
import { OBOL_SETTINGS, type ObolNodeSource, obolKeys, obolNodes, obolProblems, obolWarnings } from './config/obol.ts'
import {
  REMOTE_SIGNER_SETTINGS,
  type RemoteSignerConfig,
  remoteSignerConfig,
  remoteSignerProblems,
} from './config/remote-signer.ts'
import { SSV_SETTINGS, type SsvConfig, ssvConfig, ssvProblems } from './config/ssv.ts'

const seconds = (description: string, example: string) => integer(1, 3600, { description, example })

const CLUSTER_TYPES = ['OBOL', 'SSV'] as const

const parseVault = (value: string): string => toHex(parseListedAddress(value, 'vaults'))

/** The lists of a relayer: `GET /exits` is of generation 3, `GET /validators` of generation 4. */
export const LISTS = ['exits', 'validators'] as const
export type ListName = (typeof LISTS)[number]

/** Generations of the protocol, and which lists each has. */
const GENERATIONS = ['auto', '3', '4'] as const
const LISTS_OF: Readonly<Record<(typeof GENERATIONS)[number], readonly ListName[]>> = {
  auto: ['exits', 'validators'],
  '3': ['exits'],
  '4': ['validators'],
}

export const SIDECAR_SETTINGS = {
  NETWORK: custom(parseNetwork, {
    description: 'mainnet, hoodi, gnosis, or the path of a JSON file that describes another network',
    example: 'hoodi',
  }),
  RELAYER_ENDPOINT: secret(
    url({
      description: 'URL of the relayer; credentials in it are sent as HTTP Basic authentication',
      example: 'https://relayer.example',
    }),
  ),
  RELAYER_CA_FILE: optional(
    text({
      description: 'certificates (PEM) of the CA that signed that of the relayer, or of the proxy before it',
      example: './relayer-ca.pem',
    }),
    "the system's",
  ),
  RELAYER_TIMEOUT: withDefault(seconds('seconds one request to the relayer may take', '10'), 10),
  POLL_INTERVAL: withDefault(
    seconds('seconds between two polls of a relayer without long polling, and between two posts of one signature', '2'),
    2,
  ),
  GENERATION: withDefault(
    oneOf(GENERATIONS, {
      description:
        'generation of the protocol: 3 signs exits, 4 exits with their deposits, auto whatever lists the relayer has',
      example: '4',
    }),
    'auto' as const,
  ),
  ALLOWED_VAULTS: withDefault(
    list(
      custom(parseVault, {
        description:
          "vaults deposits may be signed for, comma separated; unset, the withdrawal address in the validator's cluster lock",
        example: '0xAC0F906E433d58FA868F936E8A43230473652885',
      }),
    ),
    [],
    '',
  ),
  JOURNAL_FILE: withDefault(
    text({
      description:
        'file that remembers the one vault each validator may ever deposit to; made with the first deposit that is signed, one for each sidecar, to be kept as long as the keys',
      example: './data/deposits.journal',
    }),
    './data/deposits.journal',
  ),
  CLUSTER_TYPE: withDefault(
    oneOf(CLUSTER_TYPES, { description: 'kind of cluster this node is part of: OBOL or SSV', example: 'SSV' }),
    'OBOL' as const,
  ),
  RELOAD_INTERVAL: optional(
    seconds('seconds between two looks for keys that came or went, on disk or on the chain', '60'),
    '60, or 12 where the chain is read',
  ),
  ...OBOL_SETTINGS,
  ...SSV_SETTINGS,
  CONSENSUS_ENDPOINT: withDefault(
    list(
      url({
        description:
          'consensus node URLs, comma separated; set, no exit is signed for an index that belongs to another key, and no deposit for a key that has one',
        example: 'http://127.0.0.1:5052',
      }),
    ),
    [],
    '',
  ),
  CONSENSUS_TIMEOUT: withDefault(seconds('seconds one request to the consensus node may take', '30'), 30),
  CONSENSUS_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '60'), 60),
  ...REMOTE_SIGNER_SETTINGS,
  ...KEYMANAGER_SETTINGS,
  SIDECAR_HOST: withDefault(
    host({ description: 'address /health, /ready and /metrics listen on', example: '0.0.0.0' }),
    '127.0.0.1',
  ),
  SIDECAR_PORT: optional(
    integer(0, 65_535, { description: 'port of /health, /ready and /metrics', example: '8001' }),
    'off',
  ),
  ...LOG_SETTINGS,
}

const HEAL_INTERVAL_MS = 15_000
const RELOAD_MS = 60_000
/** The time of a block. */
const RELOAD_CHAIN_MS = 12_000

export interface SidecarConfig {
  readonly network: Network
  readonly relayer: {
    endpoint: URL
    /** Where the endpoint is read again; undefined where it stands in the environment. */
    endpointFile: string | undefined
    /** Undefined: the CAs of the system. */
    caFile: string | undefined
    timeoutMs: number
    pollIntervalMs: number
    /** The file of charon's key; undefined where requests are not signed with one. */
    enrKeyFile: string | undefined
    /** A full list, and a look at the relayer's network, at least this often. */
    healIntervalMs: number
  }
  readonly generation: (typeof GENERATIONS)[number]
  /** The lists that are followed. */
  readonly lists: readonly ListName[]
  readonly deposits: {
    /** Lower-case hex with `0x`; empty: what the cluster lock says. */
    allowedVaults: readonly string[]
    journalFile: string
  }
  /** No nodes where a remote signer holds the keys, and for SSV. */
  readonly obol: { nodes: readonly ObolNodeSource[]; lockHashes: readonly Uint8Array[] }
  /** Undefined for Obol. */
  readonly ssv: SsvConfig | undefined
  /** Between two looks for keys that came or went. */
  readonly reloadIntervalMs: number
  readonly remoteSigner: RemoteSignerConfig | undefined
  /** Undefined: no validator client holds the keys. */
  readonly keymanager: KeymanagerConfig | undefined
  /** Undefined: the chain is not asked. */
  readonly consensus: { endpoints: readonly URL[]; timeoutMs: number; retryTimeoutMs: number } | undefined
  /** Undefined: nothing listens. */
  readonly http: { host: string; port: number } | undefined
  readonly log: { level: LogLevel; format: LogFormat }
}

/**
 * Reads the environment.
 *
 * @returns the config, and warnings to log
 * @throws {BootError} SETTINGS_INVALID with every problem at once
 */
export function readConfig(environment: Environment): { config: SidecarConfig; warnings: string[] } {
  const { values, warnings } = readSettings(SIDECAR_SETTINGS, environment, EXISTING_IGNORED)
  const isSsv = values.CLUSTER_TYPE === 'SSV'
  warnings.push(...unused(values, environment), ...(isSsv ? [] : obolWarnings(values)))
  if (!isSsv && values.OBOL_ENR_KEY_FILE !== undefined && hasToken(values.RELAYER_ENDPOINT))
    warnings.push('OBOL_ENR_KEY_FILE is not used: the token in RELAYER_ENDPOINT goes before it')
  const isRemote = values.REMOTE_SIGNER_URL.length > 0
  const isInClient = values.KEYMANAGER_URL !== undefined
  const elsewhere = isRemote ? 'REMOTE_SIGNER_URL' : isInClient ? 'KEYMANAGER_URL' : undefined
  const problems = [
    ...(values.RELAYER_CA_FILE !== undefined && values.RELAYER_ENDPOINT.protocol !== 'https:'
      ? ['RELAYER_ENDPOINT must start with https:// where RELAYER_CA_FILE is given']
      : []),
    ...remoteSignerProblems(values),
    ...keymanagerProblems(values, {
      isSsv,
      hasRemoteSigner: isRemote,
      hasConsensus: values.CONSENSUS_ENDPOINT.length > 0,
      generation: values.GENERATION,
    }),
    ...(isSsv ? ssvProblems(values, values.NETWORK, isRemote) : obolProblems(values, elsewhere)),
  ]
  if (problems.length > 0)
    throw new BootError(
      'SETTINGS_INVALID',
      `these settings do not fit together:\n${[...problems, ...warnings.filter(isHint)].map((line) => `  - ${line}`).join('\n')}`,
    )
  const config: SidecarConfig = {
    network: values.NETWORK,
    relayer: {
      endpoint: values.RELAYER_ENDPOINT,
      endpointFile: variableOf(environment, 'RELAYER_ENDPOINT_FILE') || undefined,
      caFile: values.RELAYER_CA_FILE === undefined ? undefined : resolve(values.RELAYER_CA_FILE),
      timeoutMs: values.RELAYER_TIMEOUT * 1000,
      pollIntervalMs: values.POLL_INTERVAL * 1000,
      enrKeyFile: isSsv || values.OBOL_ENR_KEY_FILE === undefined ? undefined : resolve(values.OBOL_ENR_KEY_FILE),
      healIntervalMs: HEAL_INTERVAL_MS,
    },
    generation: values.GENERATION,
    // A validator client signs no deposits.
    lists: isInClient ? ['exits'] : LISTS_OF[values.GENERATION],
    deposits: { allowedVaults: values.ALLOWED_VAULTS, journalFile: resolve(values.JOURNAL_FILE) },
    obol: { nodes: isSsv ? [] : obolNodes(values), lockHashes: values.CLUSTER_LOCK_HASHES },
    ssv: isSsv ? ssvConfig(values) : undefined,
    reloadIntervalMs: reloadInterval(values),
    remoteSigner: remoteSignerConfig(values, isSsv ? undefined : obolKeys(values)),
    keymanager: keymanagerConfig(values, isSsv ? undefined : obolKeys(values)),
    consensus:
      values.CONSENSUS_ENDPOINT.length === 0
        ? undefined
        : {
            endpoints: values.CONSENSUS_ENDPOINT,
            timeoutMs: values.CONSENSUS_TIMEOUT * 1000,
            retryTimeoutMs: values.CONSENSUS_RETRY_TIMEOUT * 1000,
          },
    http: values.SIDECAR_PORT === undefined ? undefined : { host: values.SIDECAR_HOST, port: values.SIDECAR_PORT },
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
  }
  return { config: Object.freeze(config), warnings }
}

/** No host has this name: whoever asks nobody has nobody to ask. */
const NOBODY = 'http://nobody.invalid'

/**
 * The same for a command that asks nobody. Relayer and port mean nothing then; settings that name somebody whose word the keys or the policy
 * would wait for are refused instead of being passed over.
 *
 * @throws {BootError} SETTINGS_INVALID
 */
export function readOfflineConfig(environment: Environment): { config: SidecarConfig; warnings: string[] } {
  const read = readConfig({ ...environment, RELAYER_ENDPOINT: NOBODY, RELAYER_ENDPOINT_FILE: undefined })
  const { consensus, ssv, remoteSigner, keymanager } = read.config
  const problems = [
    ...(consensus === undefined
      ? []
      : ['CONSENSUS_ENDPOINT: the chain cannot be asked, so that a policy that counts on it would not be kept']),
    ...(ssv?.chain === undefined ? [] : ['EXECUTION_ENDPOINT: key shares are those of SSV_KEYSHARES_FILES alone']),
    ...(remoteSigner === undefined ? [] : ['REMOTE_SIGNER_URL: the keys must be on this machine']),
    ...(keymanager === undefined ? [] : ['KEYMANAGER_URL: the keys must be on this machine']),
  ]
  if (problems.length === 0) return read
  throw new BootError(
    'SETTINGS_INVALID',
    `this command asks nobody, so that these must be unset for it:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
  )
}

type Values = SettingsOf<typeof SIDECAR_SETTINGS>

/** Whether a URL holds credentials: they go before any key. */
export const hasToken = ({ username, password }: URL): boolean => username !== '' || password !== ''

/** A note on each setting that only the other kind of cluster has. */
function unused({ CLUSTER_TYPE: type }: Values, environment: Environment): string[] {
  const names = Object.keys(type === 'OBOL' ? SSV_SETTINGS : OBOL_SETTINGS)
  const isSet = (name: string) => (environment[name]?.trim() ?? '') !== ''
  return names.filter(isSet).map((name) => `${name} is ignored: it means nothing with CLUSTER_TYPE=${type}`)
}

function reloadInterval({
  RELOAD_INTERVAL: seconds,
  CLUSTER_TYPE: type,
  EXECUTION_ENDPOINT: endpoints,
}: Values): number {
  if (seconds !== undefined) return seconds * 1000
  return type === 'SSV' && endpoints.length > 0 ? RELOAD_CHAIN_MS : RELOAD_MS
}
