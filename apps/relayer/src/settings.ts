/** The relayer's settings as they stand in the environment: names, defaults, and the texts of the documentation. */

import { accessSync, constants } from 'node:fs'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { reasonOf } from '@dvt-relayer/common/errors.ts'
import { parseHex } from '@dvt-relayer/common/hex.ts'
import { EXISTING_IGNORED, LOG_SETTINGS } from '@dvt-relayer/common/log/log-settings.ts'
import type { SettingsOf } from '@dvt-relayer/common/settings.ts'
import {
  custom,
  host,
  integer,
  list,
  oneOf,
  optional,
  secret,
  text,
  url,
  withDefault,
} from '@dvt-relayer/common/settings.ts'
import { parseAddress, parseListedAddress } from '@dvt-relayer/crypto/address.ts'
import { parseLockHash } from '@dvt-relayer/crypto/cluster-lock/lock-verify.ts'
import { parseOraclePublicKey } from '@dvt-relayer/crypto/oracle/ecies.ts'

const seconds = (description: string, example: string) => integer(1, 86_400, { description, example })

/** Bytes of a 32-byte key, as 64 hex digits or as base64. */
function parseSealingKey(value: string): Uint8Array {
  const bytes = parseHex(value, 32) ?? new Uint8Array(Buffer.from(value, 'base64'))
  if (bytes.length !== 32) throw new Error('must be 32 bytes as 64 hex digits or as base64')
  return bytes
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

const httpUrl = url({ description: '', example: '' })

/** A URL that is nobody's secret. */
function parsePublicUrl(value: string): URL {
  const given = httpUrl.parse(value)
  if (given.username !== '' || given.password !== '' || given.search !== '' || given.hash !== '')
    throw new Error('must be a URL without credentials and query: it is told to everybody')
  return given
}

const postgresUrl = url(
  {
    description: 'PostgreSQL to use instead of the embedded one',
    example: 'postgres://relayer:password@127.0.0.1:5432/relayer',
  },
  ['postgres:', 'postgresql:'],
)

/** What `pg` reads. Those between `disable` and `verify-full` are the same as `verify-full` to it, unless `uselibpqcompat` is set. */
const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']

/** The URL with a `sslmode` that there is, in the one word that says what it does, and files that can be read. */
function withKnownTls(given: URL): URL {
  const { searchParams } = given
  const modes = searchParams.getAll('sslmode')
  const unknown = modes.find((mode) => !SSL_MODES.includes(mode))
  if (unknown !== undefined) throw new Error(`has an unknown sslmode: it is one of ${SSL_MODES.join(', ')}`)
  for (const name of ['sslrootcert', 'sslcert', 'sslkey']) {
    const file = searchParams.get(name)
    try {
      if (file !== null) accessSync(file, constants.R_OK)
    } catch (error) {
      throw new Error(`names a file in ${name} that cannot be read (${reasonOf(error)})`)
    }
  }
  if (searchParams.get('uselibpqcompat') === 'true') return given
  return new URL(given.href.replace(/([?&]sslmode=)(?:prefer|require|verify-ca)(?=&|#|$)/, '$1verify-full'))
}

export const RELAYER_SETTINGS = {
  NETWORK: custom(parseNetwork, {
    description: 'mainnet, hoodi, gnosis, or the path of a JSON file that describes another network',
    example: 'hoodi',
  }),
  RELAYER_HOST: withDefault(host({ description: 'address to listen on', example: '0.0.0.0' }), '127.0.0.1'),
  RELAYER_PORT: withDefault(integer(0, 65_535, { description: 'port to listen on', example: '8000' }), 8000),
  METRICS_HOST: withDefault(host({ description: 'address METRICS_PORT listens on', example: '0.0.0.0' }), '127.0.0.1'),
  METRICS_PORT: optional(
    integer(0, 65_535, {
      description: 'port where /health, /ready and /metrics are open to whoever reaches it, without tokens',
      example: '8002',
    }),
    'off',
  ),
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
  IPFS_TIMEOUT: withDefault(
    seconds('seconds one gateway may take for what is fetched, all its blocks together', '60'),
    60,
  ),
  IPFS_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '120'), 120),
  GENESIS_VALIDATORS_IPFS_TIMEOUT: withDefault(
    seconds('seconds one gateway may take for the dump of the registry (generation 4)', '300'),
    300,
  ),
  GENESIS_VALIDATORS_IPFS_RETRY_TIMEOUT: withDefault(seconds('seconds to go on trying', '600'), 600),
  DATA_DIR: withDefault(
    text({ description: 'folder of the embedded PostgreSQL and of the key it makes', example: './data' }),
    './data',
  ),
  DATABASE_URL: optional(
    secret({ ...postgresUrl, parse: (value) => withKnownTls(postgresUrl.parse(value)) }),
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
        description: 'cluster-lock.json files to import, comma separated',
        example: './cluster-lock.json',
      }),
    ),
    [],
    '',
  ),
  CLUSTER_LOCK_HASHES: withDefault(
    list(
      custom(parseLockHash, {
        description: 'the lock_hash values that may be imported, comma separated',
        example: '0x8e37c13116c0e51f807696a3ee0bb7845acc1290ea7ae81ba9f1dee568935349',
      }),
    ),
    [],
    '',
  ),
  CLUSTER_LOCK_REPLACES: withDefault(
    list(
      custom(parseLockHash, {
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
          'keyshares files of SSV validators, and folders of them (keyshares*.json), to import, comma separated',
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
      custom((value: string) => parseListedAddress(value, 'owners'), {
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
      description:
        'CSV of validator public keys to hand out, one a line, in order (generation 4), each with the vault that alone may have it where a second column names one',
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
      custom((value: string) => parseListedAddress(value, 'vaults'), {
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
      description:
        'what becomes of an exit once its validator is registered: kept, sealed, or erased for good a day later',
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
  PUBLIC_URL: optional(
    custom(parsePublicUrl, {
      description:
        "this relayer's URL as sidecars have it in RELAYER_ENDPOINT: what nodes sign that need no token names it, so that no other relayer can use it here; unset, such requests are refused",
      example: 'https://relayer.example',
    }),
    'nodes need tokens',
  ),
  OBOL_API: withDefault(
    oneOf(['on', 'off'], {
      description:
        'whether nodes may hand in with charon alone: what its exit sign and deposit sign post, and a beacon stand-in under /obol',
      example: 'on',
    }),
    'off' as const,
  ),
  WALLETS_WITHOUT_TOKENS: withDefault(
    oneOf(['refused', 'loopback'], {
      description:
        'whether the relayer starts with a wallet and without AUTH_TOKENS_FILE: refused, or loopback, which opens what the wallets sign to whatever reaches a loopback address of this machine: its programs and users, browsers, and proxies and tunnels that add no header, whoever stands behind them',
      example: 'loopback',
    }),
    'refused' as const,
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
    integer(1, 64, {
      description: 'bodies over 1 MiB of one caller that are worked on at the same time',
      example: '4',
    }),
    4,
  ),
  ...LOG_SETTINGS,
}

/** The values of the settings. */
export type RelayerSettings = SettingsOf<typeof RELAYER_SETTINGS>

/** Names of the existing relayer, or of later versions, that mean nothing here. */
export const RELAYER_IGNORED = [...EXISTING_IGNORED, 'DEPOSIT_DATA_PATH'] as const
