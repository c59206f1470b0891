/** The relayer's settings: one schema, read into one frozen, grouped config. */

import { resolve, sep } from 'node:path'
import type { Network } from '@dvt-relayer/chain/networks.ts'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { BootError } from '@dvt-relayer/common/errors.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { LOG_SETTINGS } from '@dvt-relayer/common/log-settings.ts'
import type { LogFormat, LogLevel } from '@dvt-relayer/common/logger.ts'
import type { Environment, SettingsOf } from '@dvt-relayer/common/settings.ts'
import {
  custom,
  integer,
  isHint,
  list,
  oneOf,
  optional,
  readSettings,
  secret,
  text,
  url,
  withDefault,
} from '@dvt-relayer/common/settings.ts'
import { checksumAddress, parseAddress } from '@dvt-relayer/crypto/address.ts'
import { parseOraclePublicKey } from '@dvt-relayer/crypto/oracle/ecies.ts'

const seconds = (description: string, example: string) => integer(1, 86_400, { description, example })

/** Bytes of a 32-byte key, as 64 hex digits or as base64. */
function parseSealingKey(value: string): Uint8Array {
  const bytes = parseHex(value, 32) ?? new Uint8Array(Buffer.from(value, 'base64'))
  if (bytes.length !== 32) throw new Error('must be 32 bytes as 64 hex digits or as base64')
  return bytes
}

function parseHash(value: string): Uint8Array {
  const bytes = parseHex(value, 32)
  if (bytes === undefined) throw new Error('must be a lock_hash: hex of 32 bytes')
  return bytes
}

function parseListed(value: string, whose: string): Uint8Array {
  const address = parseAddress(value)
  if (address === undefined)
    throw new Error(
      `must be addresses of ${whose}, which ${value.slice(0, 10)}… is not: 0x and 40 hex digits, and where upper and lower case are mixed, a right checksum`,
    )
  return address
}

/** An owner's entry: a vault and the secp256k1 key that its exits are encrypted to. */
function parseOwner(value: string): { vault: Uint8Array; publicKey: Uint8Array } {
  const [vaultText = '', keyText = '', ...rest] = value.split(':').map((part) => part.trim())
  const vault = parseAddress(vaultText)
  // Not all of it: somebody may have put a secret key there.
  const shown = value.slice(0, 10)
  if (vault === undefined || rest.length > 0)
    throw new Error(`must be vault:key entries, and in ${shown}… what stands before the colon is no address of a vault`)
  try {
    return { vault, publicKey: parseOraclePublicKey(keyText) }
  } catch {
    throw new Error(
      `must be vault:key entries, and in ${shown}… what stands after the colon is no secp256k1 public key: hex of 64, 65 or 33 bytes`,
    )
  }
}

export const RELAYER_SETTINGS = {
  NETWORK: custom(parseNetwork, {
    description: 'mainnet, hoodi, gnosis, or the path of a JSON file that describes another network',
    example: 'hoodi',
  }),
  RELAYER_HOST: withDefault(text({ description: 'address to listen on', example: '0.0.0.0' }), '127.0.0.1'),
  RELAYER_PORT: withDefault(integer(0, 65_535, { description: 'port to listen on', example: '8000' }), 8000),
  ROLE: withDefault(
    oneOf(['all', 'api', 'worker'], {
      description: 'what this process does: answer requests, finish exits, or both',
      example: 'all',
    }),
    'all' as const,
  ),
  EXECUTION_ENDPOINT: list(
    url({ description: 'execution node URLs, comma separated, tried in turn', example: 'http://127.0.0.1:8545' }),
  ),
  EXECUTION_TIMEOUT: withDefault(seconds('seconds one request to the execution node may take', '60'), 60),
  EXECUTION_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '60'), 60),
  CONSENSUS_ENDPOINT: list(
    url({ description: 'consensus node URLs, comma separated, tried in turn', example: 'http://127.0.0.1:5052' }),
  ),
  CONSENSUS_TIMEOUT: withDefault(seconds('seconds one request to the consensus node may take', '60'), 60),
  CONSENSUS_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '60'), 60),
  IPFS_FETCH_ENDPOINTS: withDefault(
    list(url({ description: 'IPFS gateways, comma separated, tried in turn', example: 'https://gateway.example' })),
    ['https://stakewise-v3.infura-ipfs.io', 'https://gateway.pinata.cloud', 'https://ipfs.io'].map(
      (item) => new URL(item),
    ),
    'https://stakewise-v3.infura-ipfs.io,https://gateway.pinata.cloud,https://ipfs.io',
  ),
  IPFS_TIMEOUT: withDefault(seconds('seconds one request to a gateway may take', '60'), 60),
  IPFS_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '120'), 120),
  GENESIS_VALIDATORS_IPFS_TIMEOUT: withDefault(
    seconds('seconds one request for the dump of the registry may take (generation 4)', '300'),
    300,
  ),
  GENESIS_VALIDATORS_IPFS_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '600'), 600),
  DATA_DIR: withDefault(
    text({ description: 'folder of the embedded PostgreSQL and of the key it makes', example: './data' }),
    './data',
  ),
  DATABASE_URL: optional(
    secret(
      url(
        {
          description: 'PostgreSQL to use instead of the embedded one',
          example: 'postgres://relayer:password@127.0.0.1:5432/relayer',
        },
        ['postgres:', 'postgresql:'],
      ),
    ),
    'embedded PostgreSQL',
  ),
  REDIS_URL: optional(
    secret(url({ description: 'Redis for the job queue', example: 'redis://127.0.0.1:6379' }, ['redis:', 'rediss:'])),
    'queue on PostgreSQL',
  ),
  SEALING_KEY: optional(
    secret(
      custom(parseSealingKey, {
        description: 'key that seals exit signatures at rest: 32 bytes as hex or base64',
        example: '64 hex digits, from: openssl rand -hex 32',
      }),
    ),
    'made in DATA_DIR',
  ),
  SEALING_KEY_PREVIOUS: optional(
    secret(
      custom(parseSealingKey, {
        description: 'the key before this one, while values are sealed anew',
        example: 'the old SEALING_KEY',
      }),
    ),
  ),
  SIGNATURE_THRESHOLD: optional(
    integer(1, 256, {
      description:
        'how many partial signatures make a full one, for keys that no cluster lock and no SSV cluster covers',
      example: '3',
    }),
  ),
  CLUSTER_LOCK_FILES: withDefault(
    list(
      text({
        description: 'cluster-lock.json files to import at boot, comma separated',
        example: './cluster-lock.json',
      }),
    ),
    [],
    '',
  ),
  CLUSTER_LOCK_HASHES: withDefault(
    list(
      custom(parseHash, {
        description: 'the lock_hash values that may be imported, comma separated',
        example: '0x8e37c13116c0e51f807696a3ee0bb7845acc1290ea7ae81ba9f1dee568935349',
      }),
    ),
    [],
    '',
  ),
  CLUSTER_LOCK_REPLACES: withDefault(
    list(
      custom(parseHash, {
        description: 'lock_hash of imported locks that a new lock of the same validators may replace',
        example: '0x8e37c13116c0e51f807696a3ee0bb7845acc1290ea7ae81ba9f1dee568935349',
      }),
    ),
    [],
    '',
  ),
  SSV_KEYSHARES_FILES: withDefault(
    list(
      text({
        description:
          'keyshares files of SSV validators, and folders of them (keyshares*.json), to import at boot, comma separated',
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
  SSV_OWNERS: withDefault(
    list(
      custom((value: string) => parseListed(value, 'owners'), {
        description:
          'owners whose SSV validators count, comma separated: their registrations on the chain are followed, and files of other owners left out; unset, the chain is not followed',
        example: '0xA4F91B1F8eaAaE1396bD088561D29FE99357b305',
      }),
    ),
    [],
    '',
  ),
  PUBLIC_KEYS_FILE: optional(
    text({
      description: 'CSV of validator public keys to hand out, one a line, in order (generation 4)',
      example: './public-keys.csv',
    }),
    'the keys of locks and SSV clusters',
  ),
  VALIDATORS_MANAGER_KEY_FILE: optional(
    text({
      description: "Web3 keystore of the vaults' validators manager (generation 4)",
      example: './validators-manager.json',
    }),
    'nothing is signed for vaults',
  ),
  VALIDATORS_MANAGER_PASSWORD_FILE: optional(
    text({ description: 'file with the password of that keystore', example: './validators-manager.txt' }),
  ),
  VAULTS: withDefault(
    list(
      custom((value: string) => parseListed(value, 'vaults'), {
        description: 'the vaults this relayer works for, comma separated (generation 4); unset, any',
        example: '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa',
      }),
    ),
    [],
    '',
  ),
  MANAGER_DAILY_LIMIT_GWEI: optional(
    integer(1, Number.MAX_SAFE_INTEGER, {
      description:
        'Gwei that signatures for funding, withdrawing and consolidating may move for one vault within 24 hours',
      example: '320000000000',
    }),
    'no limit',
  ),
  EXIT_RETENTION: withDefault(
    oneOf(['keep', 'erase'], {
      description: 'what becomes of an exit once its validator is registered: kept, sealed, or erased for good',
      example: 'keep',
    }),
    'keep' as const,
  ),
  OWNER_PUBLIC_KEYS: withDefault(
    list(
      custom(parseOwner, {
        description:
          'vault:key, comma separated: secp256k1 public keys of owners that get a copy of their exits, encrypted to them',
        example: '0x8Ae5c1046158526Cf236f74D8FB88fabE2E94ACa:66 hex digits of the public key',
      }),
    ),
    [],
    '',
  ),
  ROTATION: withDefault(
    oneOf(['on', 'off'], {
      description: 'whether exit signatures of registered validators are renewed when the oracles change',
      example: 'on',
    }),
    'off' as const,
  ),
  ROTATION_WALLET_KEY_FILE: optional(
    text({
      description:
        'Web3 keystore of a wallet, used for nothing else, that sends and pays the transactions of rotations',
      example: './rotation-wallet.json',
    }),
    'the calldata is handed out',
  ),
  ROTATION_WALLET_PASSWORD_FILE: optional(
    text({ description: 'file with the password of that keystore', example: './rotation-wallet.txt' }),
  ),
  ROTATION_MAX_FEE_GWEI: withDefault(
    integer(1, 100_000, { description: 'Gwei a unit of gas of these transactions may cost at most', example: '50' }),
    50,
  ),
  AUTH_TOKENS_FILE: optional(
    text({ description: 'file of tokens; unset, everybody who reaches the port may call', example: './tokens' }),
    'open to everybody',
  ),
  VALIDATOR_LIFETIME: withDefault(
    integer(1, 31_536_000, {
      description: 'seconds after which what no operator asked for leaves the lists',
      example: '3600',
    }),
    3600,
  ),
  MAX_KEYS_PER_REQUEST: withDefault(
    integer(1, 100_000, { description: 'public keys one request may ask for', example: '1000' }),
    1000,
  ),
  MAX_SHARES_PER_REQUEST: withDefault(
    integer(1, 1_000_000, { description: 'partial signatures one request may bring', example: '20000' }),
    20_000,
  ),
  MAX_BODY_BYTES: withDefault(
    integer(1024, 268_435_456, { description: 'size of a request body in bytes', example: '16777216' }),
    16_777_216,
  ),
  MAX_OPEN_EXITS: withDefault(
    integer(1, 1_000_000, { description: 'live exits one requester may have', example: '20000' }),
    20_000,
  ),
  MAX_LARGE_BODIES: withDefault(
    integer(1, 64, { description: 'bodies over 1 MiB that are read at the same time', example: '4' }),
    4,
  ),
  ...LOG_SETTINGS,
}

/** Names of the existing relayer, or of later versions, that mean nothing here. */
export const RELAYER_IGNORED = ['DATABASE', 'SENTRY_DSN', 'SENTRY_ENVIRONMENT', 'VERBOSE'] as const

export interface RelayerConfig {
  readonly network: Network
  readonly http: {
    host: string
    port: number
    maxBodyBytes: number
    maxLargeBodies: number
    authTokensFile: string | undefined
  }
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
export const isRealMoney = (network: string): boolean => ['mainnet', 'gnosis'].includes(network)

/**
 * Reads the environment.
 *
 * @returns the config, and warnings to log
 * @throws {BootError} SETTINGS_INVALID with every problem at once
 */
export function readConfig(environment: Environment): { config: RelayerConfig; warnings: string[] } {
  const { values, warnings } = readSettings(RELAYER_SETTINGS, environment, RELAYER_IGNORED)
  const dataDir = resolve(values.DATA_DIR)
  const problems = contradictions(values, dataDir, environment['SEALING_KEY_FILE']?.trim())
  if (problems.length > 0)
    throw new BootError(
      'SETTINGS_INVALID',
      `these settings do not fit together:\n${[...problems, ...warnings.filter(isHint)].map((line) => `  - ${line}`).join('\n')}`,
    )
  const endpoint = (name: 'EXECUTION' | 'CONSENSUS') => ({
    endpoints: values[`${name}_ENDPOINT`],
    timeoutMs: values[`${name}_TIMEOUT`] * 1000,
    retryTimeoutMs: values[`${name}_RETRY_TIMEOUT`] * 1000,
  })
  const config: RelayerConfig = {
    network: values.NETWORK,
    http: {
      host: values.RELAYER_HOST,
      port: values.RELAYER_PORT,
      maxBodyBytes: values.MAX_BODY_BYTES,
      maxLargeBodies: values.MAX_LARGE_BODIES,
      authTokensFile: values.AUTH_TOKENS_FILE,
    },
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
    manager:
      values.VALIDATORS_MANAGER_KEY_FILE === undefined || values.VALIDATORS_MANAGER_PASSWORD_FILE === undefined
        ? undefined
        : { keyFile: values.VALIDATORS_MANAGER_KEY_FILE, passwordFile: values.VALIDATORS_MANAGER_PASSWORD_FILE },
    vaults: values.VAULTS.length === 0 ? undefined : values.VAULTS,
    managerDailyLimitGwei: values.MANAGER_DAILY_LIMIT_GWEI,
    rotation: {
      enabled: values.ROTATION === 'on',
      wallet:
        values.ROTATION_WALLET_KEY_FILE === undefined || values.ROTATION_WALLET_PASSWORD_FILE === undefined
          ? undefined
          : { keyFile: values.ROTATION_WALLET_KEY_FILE, passwordFile: values.ROTATION_WALLET_PASSWORD_FILE },
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
  return { config: Object.freeze(config), warnings }
}

/** What is wrong between settings that are each fine alone. */
function contradictions(
  values: SettingsOf<typeof RELAYER_SETTINGS>,
  dataDir: string,
  sealingKeyFile: string | undefined,
): string[] {
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
  const owned = values.OWNER_PUBLIC_KEYS.map(({ vault }) => checksumAddress(vault))
  for (const vault of new Set(owned.filter((one, position) => owned.indexOf(one) < position)))
    problems.push(`OWNER_PUBLIC_KEYS names the vault ${vault} twice: one owner key for a vault`)
  return problems
}
