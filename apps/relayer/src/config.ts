/** The relayer's config: its settings, checked against each other, in groups and frozen. */

import { resolve, sep } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import type { LogFormat, LogLevel } from '@dvt-relayer/common/log/logger.ts'
import type { Environment } from '@dvt-relayer/common/settings.ts'
import { isHint, readSettings, variableOf } from '@dvt-relayer/common/settings.ts'
import { checksumAddress } from '@dvt-relayer/crypto/address.ts'
import { RELAYER_IGNORED, RELAYER_SETTINGS, type RelayerSettings } from './settings.ts'

export interface RelayerConfig {
  readonly network: Network
  readonly http: {
    host: string
    port: number
    maxBodyBytes: number
    maxLargeBodies: number
    authTokensFile: string | undefined
    /** Undefined: no node is known by its key. */
    publicUrl: URL | undefined
    /** Whether what stock charon calls is served. */
    hasObolApi: boolean
  }
  /** Where /health, /ready and /metrics are open without tokens. Undefined: nowhere. */
  readonly metrics: { host: string; port: number } | undefined
  readonly role: 'all' | 'api' | 'worker'
  readonly execution: { endpoints: readonly URL[]; timeoutMs: number; retryTimeoutMs: number }
  readonly consensus: { endpoints: readonly URL[]; timeoutMs: number; retryTimeoutMs: number }
  readonly ipfs: {
    endpoints: readonly URL[]
    timeoutMs: number
    retryTimeoutMs: number
    /** For the registry dump, some 90 MB. */
    dump: { timeoutMs: number; retryTimeoutMs: number }
  }
  readonly storage: {
    dataDir: string
    databaseUrl: string | undefined
    redisUrl: string | undefined
    sealingKey: Uint8Array | undefined
    sealingKeyPrevious: Uint8Array | undefined
  }
  readonly clusters: {
    signatureThreshold: number | undefined
    lockFiles: readonly string[]
    lockHashes: readonly Uint8Array[]
    replaces: readonly Uint8Array[]
    publicKeysFile: string | undefined
  }
  readonly ssv: {
    /** 20 bytes each; empty: the chain is not followed, and files of any owner count. */
    owners: readonly Uint8Array[]
    /** Files, and folders of them. */
    keysharesFiles: readonly string[]
    /** Empty: `proofs.json` beside each keyshares file, where there is one. */
    proofsFiles: readonly string[]
  }
  /** Undefined: nothing is signed for vaults. */
  readonly manager: { keyFile: string; passwordFile: string } | undefined
  /** Undefined: any vault. */
  readonly vaults: readonly Uint8Array[] | undefined
  readonly managerDailyLimitGwei: number | undefined
  readonly rotation: {
    enabled: boolean
    /** Undefined: nothing is sent, the calldata is handed out. */
    wallet: { keyFile: string; passwordFile: string } | undefined
    maxFeeGwei: number
  }
  readonly exitRetention: 'keep' | 'erase'
  /** Who gets copies of a vault's exits: 20 and 65 bytes, one key for a vault. */
  readonly owners: readonly { vault: Uint8Array; publicKey: Uint8Array }[]
  readonly limits: { keys: number; shares: number; openExits: number }
  readonly validatorLifetimeSeconds: number
  readonly log: { level: LogLevel; format: LogFormat }
}

/** Whether real money is at stake on a network: then what is a warning elsewhere is refused. */
const isRealMoney = (network: string): boolean => ['mainnet', 'gnosis'].includes(network)

/**
 * Reads the environment.
 *
 * @returns the config, and warnings to log
 * @throws {BootError} SETTINGS_INVALID with every problem at once
 */
export function readConfig(environment: Environment): { config: RelayerConfig; warnings: string[] } {
  const { values, warnings } = readSettings(RELAYER_SETTINGS, environment, RELAYER_IGNORED)
  const dataDir = resolve(values.DATA_DIR)
  const problems = contradictions(values, dataDir, variableOf(environment, 'SEALING_KEY_FILE'))
  if (problems.length > 0)
    throw new BootError(
      'SETTINGS_INVALID',
      `these settings do not fit together:\n${[...problems, ...warnings.filter(isHint)].map((line) => `  - ${line}`).join('\n')}`,
    )
  return { config: Object.freeze(configOf(values, dataDir)), warnings }
}

/** The settings in groups. A table, so it is longer than a page. */
function configOf(values: RelayerSettings, dataDir: string): RelayerConfig {
  const endpoint = (name: 'EXECUTION' | 'CONSENSUS') => ({
    endpoints: values[`${name}_ENDPOINT`],
    timeoutMs: values[`${name}_TIMEOUT`] * 1000,
    retryTimeoutMs: values[`${name}_RETRY_TIMEOUT`] * 1000,
  })
  return {
    network: values.NETWORK,
    http: {
      host: values.RELAYER_HOST,
      port: values.RELAYER_PORT,
      maxBodyBytes: values.MAX_BODY_BYTES,
      maxLargeBodies: values.MAX_LARGE_BODIES,
      authTokensFile: values.AUTH_TOKENS_FILE,
      publicUrl: values.PUBLIC_URL,
      hasObolApi: values.OBOL_API === 'on',
    },
    metrics: values.METRICS_PORT === undefined ? undefined : { host: values.METRICS_HOST, port: values.METRICS_PORT },
    role: values.ROLE,
    execution: endpoint('EXECUTION'),
    consensus: endpoint('CONSENSUS'),
    ipfs: {
      endpoints: values.IPFS_FETCH_ENDPOINTS,
      timeoutMs: values.IPFS_TIMEOUT * 1000,
      retryTimeoutMs: values.IPFS_RETRY_TIMEOUT * 1000,
      dump: {
        timeoutMs: values.GENESIS_VALIDATORS_IPFS_TIMEOUT * 1000,
        retryTimeoutMs: values.GENESIS_VALIDATORS_IPFS_RETRY_TIMEOUT * 1000,
      },
    },
    storage: {
      dataDir,
      databaseUrl: values.DATABASE_URL?.href,
      redisUrl: values.REDIS_URL?.href,
      sealingKey: values.SEALING_KEY,
      sealingKeyPrevious: values.SEALING_KEY_PREVIOUS,
    },
    clusters: {
      signatureThreshold: values.SIGNATURE_THRESHOLD,
      lockFiles: values.CLUSTER_LOCK_FILES,
      lockHashes: values.CLUSTER_LOCK_HASHES,
      replaces: values.CLUSTER_LOCK_REPLACES,
      publicKeysFile: values.PUBLIC_KEYS_FILE,
    },
    ssv: {
      owners: values.SSV_OWNERS,
      keysharesFiles: values.SSV_KEYSHARES_FILES,
      proofsFiles: values.SSV_PROOFS_FILES,
    },
    manager: keystoreOf(values.VALIDATORS_MANAGER_KEY_FILE, values.VALIDATORS_MANAGER_PASSWORD_FILE),
    vaults: values.VAULTS.length === 0 ? undefined : values.VAULTS,
    managerDailyLimitGwei: values.MANAGER_DAILY_LIMIT_GWEI,
    rotation: {
      enabled: values.ROTATION === 'on',
      wallet: keystoreOf(values.ROTATION_WALLET_KEY_FILE, values.ROTATION_WALLET_PASSWORD_FILE),
      maxFeeGwei: values.ROTATION_MAX_FEE_GWEI,
    },
    exitRetention: values.EXIT_RETENTION,
    owners: values.OWNER_PUBLIC_KEYS,
    limits: {
      keys: values.MAX_KEYS_PER_REQUEST,
      shares: values.MAX_SHARES_PER_REQUEST,
      openExits: values.MAX_OPEN_EXITS,
    },
    validatorLifetimeSeconds: values.VALIDATOR_LIFETIME,
    log: { level: values.LOG_LEVEL, format: values.LOG_FORMAT },
  }
}

/** A keystore and the file of its password, where both are named. */
const keystoreOf = (keyFile: string | undefined, passwordFile: string | undefined) =>
  keyFile === undefined || passwordFile === undefined ? undefined : { keyFile, passwordFile }

/** Hosts that stand for every address of the machine. */
const EVERY_ADDRESS: readonly string[] = ['0.0.0.0', '::']

/** What is wrong between settings that are each fine alone. */
function contradictions(values: RelayerSettings, dataDir: string, sealingKeyFile: string | undefined): string[] {
  const problems: string[] = []
  const { name } = values.NETWORK
  const make = 'make one with: openssl rand -hex 32'
  if (values.SEALING_KEY === undefined) {
    if (isRealMoney(name))
      problems.push(`SEALING_KEY or SEALING_KEY_FILE is required on ${name}, kept outside DATA_DIR; ${make}`)
    else if (values.DATABASE_URL !== undefined)
      problems.push(`SEALING_KEY or SEALING_KEY_FILE is required with DATABASE_URL; ${make}`)
  } else if (isRealMoney(name) && sealingKeyFile && resolve(sealingKeyFile).startsWith(`${dataDir}${sep}`)) {
    problems.push(
      `SEALING_KEY_FILE must lie outside DATA_DIR on ${name}: a copy of that folder would hold the data and its key`,
    )
  }
  if (
    values.METRICS_PORT !== undefined &&
    values.METRICS_PORT === values.RELAYER_PORT &&
    values.METRICS_PORT !== 0 &&
    (values.METRICS_HOST === values.RELAYER_HOST ||
      [values.METRICS_HOST, values.RELAYER_HOST].some((host) => EVERY_ADDRESS.includes(host)))
  )
    problems.push(`METRICS_PORT and RELAYER_PORT are both ${values.METRICS_PORT}: each wants a port of its own`)
  const sources = [values.CLUSTER_LOCK_FILES, values.SSV_KEYSHARES_FILES, values.SSV_OWNERS]
  if (sources.every((source) => source.length === 0) && values.SIGNATURE_THRESHOLD === undefined)
    problems.push(
      'CLUSTER_LOCK_FILES, SSV_KEYSHARES_FILES, SSV_OWNERS or SIGNATURE_THRESHOLD is required: how many partial signatures make a full one? for example CLUSTER_LOCK_FILES=./cluster-lock.json',
    )
  if (
    values.SSV_OWNERS.length > 0 &&
    values.NETWORK.ssvNetwork === undefined &&
    values.SSV_KEYSHARES_FILES.length === 0
  )
    problems.push(`SSV_OWNERS is set, but NETWORK=${name} has no SSV contract: set SSV_KEYSHARES_FILES`)
  if (values.SSV_PROOFS_FILES.length > 0 && values.SSV_KEYSHARES_FILES.length === 0)
    problems.push('SSV_PROOFS_FILES needs SSV_KEYSHARES_FILES')
  if ((values.VALIDATORS_MANAGER_KEY_FILE === undefined) !== (values.VALIDATORS_MANAGER_PASSWORD_FILE === undefined))
    problems.push('VALIDATORS_MANAGER_KEY_FILE and VALIDATORS_MANAGER_PASSWORD_FILE go together: set both, or neither')
  if ((values.ROTATION_WALLET_KEY_FILE === undefined) !== (values.ROTATION_WALLET_PASSWORD_FILE === undefined))
    problems.push('ROTATION_WALLET_KEY_FILE and ROTATION_WALLET_PASSWORD_FILE go together: set both, or neither')
  const wallet =
    values.VALIDATORS_MANAGER_KEY_FILE === undefined ? 'ROTATION_WALLET_KEY_FILE' : 'VALIDATORS_MANAGER_KEY_FILE'
  const hasWallet = (values.VALIDATORS_MANAGER_KEY_FILE ?? values.ROTATION_WALLET_KEY_FILE) !== undefined
  if (hasWallet && values.AUTH_TOKENS_FILE === undefined && values.WALLETS_WITHOUT_TOKENS === 'refused')
    problems.push(
      `${wallet} needs AUTH_TOKENS_FILE: without tokens nobody can tell who asks; make one with: npm run relayer -- token --name operator --role operator. Or set WALLETS_WITHOUT_TOKENS=loopback, which opens what the wallet signs to whatever reaches a loopback address of this machine, proxies and tunnels included`,
    )
  const owned = values.OWNER_PUBLIC_KEYS.map(({ vault }) => checksumAddress(vault))
  for (const vault of new Set(owned.filter((one, position) => owned.indexOf(one) < position)))
    problems.push(`OWNER_PUBLIC_KEYS names the vault ${vault} twice: one owner key for a vault`)
  return problems
}
