/** The sidecar's settings: one schema, read into one frozen, grouped config. */

import { resolve } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { LOG_SETTINGS } from '@dvt-relayer/common/log-settings.ts'
import type { LogFormat, LogLevel } from '@dvt-relayer/common/logger.ts'
import type { Environment, SettingsOf } from '@dvt-relayer/common/settings.ts'
import {
  custom,
  integer,
  list,
  oneOf,
  optional,
  readSettings,
  secret,
  text,
  url,
  withDefault,
} from '@dvt-relayer/common/settings.ts'
import { parseListedAddress } from '@dvt-relayer/crypto/address.ts'
import { parseLockHash } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'
import { SSV_SETTINGS, type SsvConfig, ssvConfig, ssvProblems } from './config-ssv.ts'
import type { ListName } from './lists/lists.ts'

const seconds = (description: string, example: string) => integer(1, 3600, { description, example })

const CLUSTER_TYPES = ['OBOL', 'SSV'] as const

const parseVault = (value: string): string => toHex(parseListedAddress(value, 'vaults'))

/** Generations of the protocol, and which lists each has. */
const GENERATIONS = ['auto', '3', '4'] as const
const LISTS_OF: Readonly<Record<(typeof GENERATIONS)[number], readonly ListName[]>> = {
  auto: ['exits', 'validators'],
  '3': ['exits'],
  '4': ['validators'],
}

/** Operators of a cluster lock, at most (protocol section 11). */
const nodeIndex = (description: string, example: string) => integer(0, 255, { description, example })

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
  OBOL_KEYSTORES_DIR: optional(
    text({
      description:
        "folder of the node's keystores and their passwords, as charon leaves it; not with REMOTE_SIGNER_URL",
      example: './.charon/validator_keys',
    }),
    'required for OBOL without REMOTE_SIGNER_URL',
  ),
  OBOL_KEYSTORES_DIR_TEMPLATE: optional(
    text({
      description: "path of one node's keystores below OBOL_KEYSTORES_DIR, with {node_index} in it",
      example: 'node{node_index}/validator_keys',
    }),
  ),
  OBOL_CLUSTER_LOCK_FILE: optional(
    text({ description: "the cluster's lock", example: './.charon/cluster-lock.json' }),
    'cluster-lock.json in the keystores folder or the one above',
  ),
  OBOL_NODE_INDEX: optional(
    nodeIndex("the node's place in the cluster, from 0; found from its keys, an error where they say otherwise", '0'),
    'found from the keys',
  ),
  OBOL_NODE_INDEXES: withDefault(
    list(nodeIndex('several nodes in one process, comma separated, for tests', '0,1,2,3')),
    [],
    '',
  ),
  CLUSTER_LOCK_HASHES: withDefault(
    list(
      custom(parseLockHash, {
        description: 'the lock_hash values this sidecar may work with, comma separated',
        example: '0x8e37c13116c0e51f807696a3ee0bb7845acc1290ea7ae81ba9f1dee568935349',
      }),
    ),
    [],
    '',
  ),
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
  SIDECAR_HOST: withDefault(
    text({ description: 'address /health, /ready and /metrics listen on', example: '0.0.0.0' }),
    '127.0.0.1',
  ),
  SIDECAR_PORT: optional(
    integer(0, 65_535, { description: 'port of /health, /ready and /metrics', example: '8001' }),
    'off',
  ),
  ...LOG_SETTINGS,
}

/** Names of the existing sidecar that mean nothing here. */
export const SIDECAR_IGNORED = ['DATABASE', 'VERBOSE', 'SENTRY_DSN', 'SENTRY_ENVIRONMENT'] as const

/** Settings that mean something for Obol clusters only. */
const OBOL_SETTINGS = [
  'OBOL_KEYSTORES_DIR',
  'OBOL_KEYSTORES_DIR_TEMPLATE',
  'OBOL_CLUSTER_LOCK_FILE',
  'OBOL_NODE_INDEX',
  'OBOL_NODE_INDEXES',
  'CLUSTER_LOCK_HASHES',
]

const HEAL_INTERVAL_MS = 15_000
const RELOAD_MS = 60_000
/** The time of a block. */
const RELOAD_CHAIN_MS = 12_000

/** Where one Obol node's keys are. */
export interface ObolNodeSource {
  readonly keystoresDir: string
  /** Beside the keystores when undefined. */
  readonly lockFile: string | undefined
  /** From 0; what the keys must agree with, when set. */
  readonly nodeIndex: number | undefined
}

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
  /**
   * The cluster whose key shares count, and the places (from 0) of those to be used; none: the one its keys stand at. Undefined for SSV
   * operators, whose key shares are those of `ssv`.
   */
  readonly obol: { readonly lockFile: string; readonly nodeIndexes: readonly number[] } | undefined
}

export interface SidecarConfig {
  readonly network: Network
  readonly relayer: {
    endpoint: URL
    timeoutMs: number
    pollIntervalMs: number
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
  const { values, warnings } = readSettings(SIDECAR_SETTINGS, environment, SIDECAR_IGNORED)
  const isSsv = values.CLUSTER_TYPE === 'SSV'
  warnings.push(...unused(values, environment))
  const problems = isSsv ? ssvContradictions(values) : contradictions(values)
  if (problems.length > 0)
    throw new BootError(
      'SETTINGS_INVALID',
      `these settings do not fit together:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    )
  const config: SidecarConfig = {
    network: values.NETWORK,
    relayer: {
      endpoint: values.RELAYER_ENDPOINT,
      timeoutMs: values.RELAYER_TIMEOUT * 1000,
      pollIntervalMs: values.POLL_INTERVAL * 1000,
      healIntervalMs: HEAL_INTERVAL_MS,
    },
    generation: values.GENERATION,
    lists: LISTS_OF[values.GENERATION],
    deposits: { allowedVaults: values.ALLOWED_VAULTS, journalFile: resolve(values.JOURNAL_FILE) },
    obol: { nodes: nodeSources(values), lockHashes: values.CLUSTER_LOCK_HASHES },
    ssv: isSsv ? ssvConfig(values) : undefined,
    reloadIntervalMs: reloadInterval(values),
    remoteSigner: remoteSignerOf(values),
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

type Values = SettingsOf<typeof SIDECAR_SETTINGS>

/** A note on each setting that only the other kind of cluster has. */
function unused({ CLUSTER_TYPE: type }: Values, environment: Environment): string[] {
  const names = type === 'OBOL' ? Object.keys(SSV_SETTINGS) : OBOL_SETTINGS
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

/** What is wrong between settings of an SSV operator that are each fine alone. */
function ssvContradictions(values: Values): string[] {
  const isRemote = values.REMOTE_SIGNER_URL.length > 0
  const problems = [...remoteSignerProblems(values), ...ssvProblems(values, values.NETWORK, isRemote)]
  return problems
}

/** What is wrong between settings of an Obol node that are each fine alone. */
function contradictions(values: Values): string[] {
  const problems = [...remoteSignerProblems(values), ...obolSignerProblems(values)]
  const template = values.OBOL_KEYSTORES_DIR_TEMPLATE
  const indexes = values.OBOL_NODE_INDEXES
  if (values.OBOL_NODE_INDEX !== undefined && indexes.length > 0)
    problems.push('OBOL_NODE_INDEX and OBOL_NODE_INDEXES are both set: keep one')
  if (new Set(indexes).size !== indexes.length) problems.push('OBOL_NODE_INDEXES names a node twice')
  if (template !== undefined && !template.includes('{node_index}'))
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE must contain {node_index}')
  if (template !== undefined && values.OBOL_NODE_INDEX === undefined && indexes.length === 0)
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE needs OBOL_NODE_INDEX or OBOL_NODE_INDEXES')
  if (template === undefined && indexes.length > 1 && values.REMOTE_SIGNER_URL.length === 0)
    problems.push(
      'OBOL_NODE_INDEXES needs OBOL_KEYSTORES_DIR_TEMPLATE, for example OBOL_KEYSTORES_DIR_TEMPLATE=node{node_index}/validator_keys',
    )
  return problems
}

/** What is wrong with the settings of remote signers. */
function remoteSignerProblems(values: Values): string[] {
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

/** What an Obol node needs where a remote signer holds its keys, and where none does. */
function obolSignerProblems(values: Values): string[] {
  if (values.REMOTE_SIGNER_URL.length === 0)
    return values.OBOL_KEYSTORES_DIR === undefined
      ? [
          'OBOL_KEYSTORES_DIR is required, for example OBOL_KEYSTORES_DIR=./.charon/validator_keys, or REMOTE_SIGNER_URL where a remote signer holds the keys',
        ]
      : []
  const problems: string[] = []
  if (values.OBOL_KEYSTORES_DIR !== undefined)
    problems.push('OBOL_KEYSTORES_DIR and REMOTE_SIGNER_URL are both set: keep the one that holds the key shares')
  if (values.OBOL_KEYSTORES_DIR_TEMPLATE !== undefined)
    problems.push('OBOL_KEYSTORES_DIR_TEMPLATE means nothing with REMOTE_SIGNER_URL: unset it')
  if (values.OBOL_CLUSTER_LOCK_FILE === undefined)
    problems.push(
      'OBOL_CLUSTER_LOCK_FILE is required with REMOTE_SIGNER_URL, for example OBOL_CLUSTER_LOCK_FILE=./.charon/cluster-lock.json',
    )
  return problems
}

function remoteSignerOf(values: Values): RemoteSignerConfig | undefined {
  const { REMOTE_SIGNER_URL: urls, OBOL_CLUSTER_LOCK_FILE: lock, OBOL_NODE_INDEX: index } = values
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
    obol:
      lock === undefined || values.CLUSTER_TYPE !== 'OBOL'
        ? undefined
        : { lockFile: resolve(lock), nodeIndexes: index === undefined ? values.OBOL_NODE_INDEXES : [index] },
  }
}

function nodeSources(values: Values): ObolNodeSource[] {
  const { OBOL_KEYSTORES_DIR: dir, OBOL_KEYSTORES_DIR_TEMPLATE: template, OBOL_CLUSTER_LOCK_FILE: lock } = values
  if (dir === undefined || values.CLUSTER_TYPE !== 'OBOL') return []
  const indexes = values.OBOL_NODE_INDEXES.length > 0 ? values.OBOL_NODE_INDEXES : [values.OBOL_NODE_INDEX]
  return indexes.map((index) => ({
    keystoresDir:
      template === undefined ? resolve(dir) : resolve(dir, template.replaceAll('{node_index}', String(index))),
    lockFile: lock === undefined ? undefined : resolve(lock),
    nodeIndex: index,
  }))
}
