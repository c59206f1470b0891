/**
 * Every file that people or other programs hand us, as editors and systems of all kinds write it: what says the same is read the
 * same, and another encoding is refused by its name. A source that reads a file by another way than `libs/common/src/files/text-file.ts`
 * has its reason here.
 */

import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeBundle, makeSignedBundle, readBundle, readSignedBundle } from '@dvt-relayer/api/bundle.ts'
import { parseNetwork } from '@dvt-relayer/chain/networks.ts'
import { checkProofs, readKeysharesFile } from '@dvt-relayer/chain/ssv/keyshares-files.ts'
import { loadEnvFile } from '@dvt-relayer/common/files/env-file.ts'
import { decodeText } from '@dvt-relayer/common/files/text-file.ts'
import { readSettings, secret, text } from '@dvt-relayer/common/settings.ts'
import { createBlstEngine } from '@dvt-relayer/crypto/bls/blst.ts'
import { afterAll, describe, expect, it } from 'vitest'
import { openRelayer } from '../apps/relayer/src/cli/air-gap/relayer.ts'
import { hashOf, readTokens } from '../apps/relayer/src/http/auth/tokens.ts'
import { importKeyList } from '../apps/relayer/src/services/clusters/key-list.ts'
import { importClusterLocks } from '../apps/relayer/src/services/clusters/locks.ts'
import { openKey } from '../apps/relayer/src/services/registrations/wallet-key.ts'
import { openSealing } from '../apps/relayer/src/services/sealing/sealing.ts'
import { createLockReader } from '../apps/sidecar/src/keystores/obol/lock.ts'
import { openKeystores } from '../apps/sidecar/src/keystores/obol/read-keystores.ts'
import { readTlsMaterial } from '../apps/sidecar/src/keystores/remote/tls.ts'
import { openOperators } from '../apps/sidecar/src/keystores/ssv/operators.ts'
import { openIdentity } from '../apps/sidecar/src/lists/identity.ts'
import { findRelayer } from '../apps/sidecar/src/lists/relayer-http.ts'
import { openJournalFile } from '../apps/sidecar/src/policy/journal-file.ts'
import { formatLine, HEADER } from '../apps/sidecar/src/policy/journal-lines.ts'
import { runVerify } from '../apps/verify/src/cli.ts'
import { loadFixtureCluster, readFixture, readFixtureJson } from './support/keys/fixtures.ts'
import { makeOracleShares } from './support/keys/oracle-shares.ts'
import { ssvPath } from './support/keys/ssv.ts'
import { makeCa } from './support/services/certificates.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'text-files-'))
afterAll(() => rmSync(folder, { recursive: true }))
const engine = createBlstEngine()
const network = parseNetwork('hoodi')
const logger = { warn() {}, info() {} }

/** What a reader is given in the place of the database: it has read the file by then. */
const READ = 'the file was read'
const noDatabase = {
  insert() {
    throw new Error(READ)
  },
  transaction: () => Promise.reject(new Error(READ)),
  execute: () => Promise.reject(new Error(READ)),
} as never

/** Reads files of this content; anything but an error means that the content was understood. */
interface Reader {
  /** What the file says as it should be. */
  good: string
  read(file: string): unknown
}

const cluster = loadFixtureCluster('cluster-4')
const lock = readFixture(cluster.lockFile)
const lockNetwork = { ...network, ...parseNetwork(cluster.expected.network) }
const [node] = cluster.nodes
const keystore = join(node?.keystoresDir ?? '', 'keystore-insecure-0.json')
const wallet = (readFixtureJson('vectors/web3_keystore.json') as { cases: { password: string; keystore: unknown }[] })
  .cases[1]
const ca = makeCa('a CA')
const made = makeOracleShares()
const networkFile = {
  name: 'devnet',
  chain_id: 1337,
  slots_per_epoch: 32,
  seconds_per_slot: 12,
  genesis_timestamp: 1,
  genesis_validators_root: `0x${'11'.repeat(32)}`,
  genesis_fork_version: '0x00000001',
  capella_fork_version: '0x03000001',
  capella_epoch: 0,
  deposit_contract: `0x${'22'.repeat(20)}`,
  deposit_contract_block: 0,
  keeper: `0x${'33'.repeat(20)}`,
  keeper_block: 0,
}

let count = 0
/** A file of its own with this content. */
function fileOf(content: string | Uint8Array, name = 'file.json'): string {
  const path = join(folder, `${++count}-${name}`)
  writeFileSync(path, content)
  return path
}

async function openPair(json: string, password: string): Promise<void> {
  const [, outcome] = [...(await openKeystores([json], engine, options))][0] ?? []
  if (outcome === undefined || 'problem' in outcome) throw new Error(`${outcome?.problem} (${password})`)
}
const options = { concurrency: 1, mostProblems: 1, signal: new AbortController().signal, onOpened() {} }

async function verify(args: readonly string[]): Promise<void> {
  let out = ''
  const write = (words: string) => {
    out += words
  }
  const code = await runVerify(['verify-share', ...args], {
    stdin: (async function* () {})(),
    stdout: write,
    stderr: write,
  })
  if (code !== 0) throw new Error(out)
}
const verifyFiles = {
  '--network': 'mainnet',
  '--config': fileOf(made.text),
  '--share': fileOf(JSON.stringify(made.item(3))),
  '--key-file': fileOf(`0x${Buffer.from(made.secretKeys[2] ?? []).toString('hex')}\n`, 'key'),
}
const verifyWith = (option: keyof typeof verifyFiles) => (file: string) =>
  verify(Object.entries({ ...verifyFiles, [option]: file }).flat())

const openWallet = (keyFile: string, passwordFile: string) =>
  openKey({ keyFile, passwordFile }, { key: 'KEY_FILE', password: 'PASSWORD_FILE', code: 'X' }, () => 'open')
const walletFile = fileOf(JSON.stringify(wallet?.keystore))
const walletPassword = fileOf(wallet?.password ?? '', 'password')
const operator = (keyFile: string, passwordFile?: string) =>
  openOperators([{ keyFile, passwordFile, operatorId: undefined }], { operatorKeyMislabelled() {} })
const operatorDir = ssvPath('operators')
const encrypted =
  readdirSync(operatorDir).find((id) => readdirSync(join(operatorDir, id)).includes('password.txt')) ?? ''
const operatorPath = (name: string) => join(operatorDir, encrypted, name)
const bundleParts = {
  ...{ network: 'hoodi', made_at: '2026-01-02T03:04:05Z', share_index: 1 },
  cluster: { kind: 'obol', lock_hash: `0x${'b8'.repeat(32)}` },
} as const
const binding = { publicKey: `0x${'aa'.repeat(48)}`, vault: `0x${'11'.repeat(20)}` }

const READERS: Readonly<Record<string, Reader>> = {
  'a secret in NAME_FILE': {
    good: 's3cret',
    read(file) {
      const schema = { PASSWORD: secret(text({ description: 'x', example: 'x' })) }
      expect(readSettings(schema, { PASSWORD_FILE: file }).values.PASSWORD).toBe('s3cret')
    },
  },
  'a network file': { good: JSON.stringify(networkFile, null, 2), read: (file) => parseNetwork(file) },
  'a lock at the relayer': {
    good: lock,
    read: (file) =>
      importClusterLocks(
        {
          config: { network: lockNetwork, clusters: { lockFiles: [file], lockHashes: [], replaces: [] } },
          db: noDatabase,
          logger,
        } as never,
        engine,
      ),
  },
  'a lock at the sidecar': {
    good: lock,
    read: (file) =>
      createLockReader({
        lockHashes: [],
        network: lockNetwork,
        engine,
        events: { lockDoubtful() {}, lockRead() {} },
      })(file),
  },
  'a list of public keys': {
    good: `public_key\n# a comment\n${cluster.expected.validators[0]?.public_key}\n`,
    read: (file) =>
      importKeyList(
        { config: { role: 'all', clusters: { publicKeysFile: file } }, db: noDatabase, logger } as never,
        engine,
      ),
  },
  'a tokens file': {
    good: `# who may\nnode-1 sidecar 1 sha256:${hashOf('x')}\n\nall admin * sha256:${hashOf('y')}\n`,
    read: (file) => expect(readTokens(file).size).toBe(2),
  },
  'a wallet': { good: JSON.stringify(wallet?.keystore), read: (file) => openWallet(file, walletPassword) },
  'the password of a wallet': { good: wallet?.password ?? '', read: (file) => openWallet(walletFile, file) },
  'the sealing key': {
    good: `${'ab'.repeat(32)}\n`,
    read(file) {
      const dataDir = mkdtempSync(join(folder, 'data-'))
      writeFileSync(join(dataDir, 'sealing.key'), readFileSync(file))
      return openSealing({ storage: { dataDir } } as never, noDatabase, logger as never)
    },
  },
  'a keystore': {
    good: readFixture(keystore),
    async read(file) {
      writeFileSync(file.replace('.json', '.txt'), readFixture(keystore.replace('.json', '.txt')))
      await openPair(file, 'the keystore')
    },
  },
  'the password of a keystore': {
    good: readFixture(keystore.replace('.json', '.txt')),
    async read(file) {
      writeFileSync(`${file}-k.json`, readFixture(keystore))
      writeFileSync(`${file}-k.txt`, readFileSync(file))
      await openPair(`${file}-k.json`, 'the password')
    },
  },
  'the key of an operator': {
    good: readFixture(operatorPath('encrypted_private_key.json')),
    read: (file) => operator(file, operatorPath('password.txt')),
  },
  'the password of an operator': {
    good: readFixture(operatorPath('password.txt')),
    read: (file) => operator(operatorPath('encrypted_private_key.json'), file),
  },
  'the bare key of an operator': {
    good: readFixture(ssvPath('operators/70001/private_key')),
    read: (file) => operator(file),
  },
  'a keyshares file': { good: readFixture('ssv/cluster-4/keyshares.json'), read: (file) => readKeysharesFile(file) },
  'proofs of a DKG': {
    good: readFixture('ssv/cluster-4-dkg/proofs.json'),
    read: async (file) => checkProofs(await readKeysharesFile(ssvPath('cluster-4-dkg/keyshares.json')), [file]),
  },
  'a certificate': {
    good: ca.cert,
    read: (file) => readTlsMaterial({ caFile: file, certFile: undefined, keyFile: undefined }),
  },
  "charon's key of a node": {
    good: `${'ab'.repeat(32)}\n`,
    async read(file) {
      const relayer = { endpoint: new URL('http://relayer'), enrKeyFile: file }
      const config = { network, relayer, ssv: undefined, remoteSigner: undefined }
      expect(await openIdentity(config as never, () => undefined)).toBeDefined()
    },
  },
  'where the relayer is': {
    good: 'https://node-1:t0ken@relayer.example/\n',
    async read(file) {
      const { endpoint } = await findRelayer({ endpointFile: file } as never)
      expect(endpoint.href).toBe('https://node-1:t0ken@relayer.example/')
    },
  },
  'the token of who carries bundles': {
    good: `${'t0ken'.repeat(9)}\n`,
    read: (file) => openRelayer('https://relayer.example', file),
  },
  'a bundle': { good: JSON.stringify(makeBundle({ ...bundleParts, exits: [], validators: [] })), read: readBundle },
  'a signed bundle': {
    good: JSON.stringify(makeSignedBundle({ ...bundleParts, exits: [], validators: [] })),
    read: readSignedBundle,
  },
  'a .env file': {
    good: 'NETWORK=hoodi\nROLE=api\n',
    read(file) {
      const home = mkdtempSync(join(folder, 'env-'))
      writeFileSync(join(home, '.env'), readFileSync(file))
      const environment = {}
      const problem = loadEnvFile(environment, home)?.problem
      if (problem !== undefined) throw problem
      expect(environment).toEqual({ NETWORK: 'hoodi', ROLE: 'api' })
    },
  },
  'a deposit journal': {
    good: HEADER + formatLine(binding),
    async read(file) {
      await using journal = await openJournalFile(file)
      expect([...journal.bindings.keys()]).toEqual([binding.publicKey])
    },
  },
  'dvt-verify: the network': {
    good: JSON.stringify({ ...networkFile, ...mainnetFile() }),
    read: verifyWith('--network'),
  },
  'dvt-verify: the oracle config': { good: made.text, read: verifyWith('--config') },
  'dvt-verify: a share': { good: JSON.stringify(made.item(3)), read: verifyWith('--share') },
  'dvt-verify: a key': { good: readFileSync(verifyFiles['--key-file'], 'utf8'), read: verifyWith('--key-file') },
}

/** Mainnet by another name, so that it is no built-in one. */
function mainnetFile() {
  const { genesisForkVersion, capellaForkVersion, capellaEpoch, genesisValidatorsRoot } = parseNetwork('mainnet')
  const hex = (bytes: Uint8Array) => `0x${Buffer.from(bytes).toString('hex')}`
  return {
    genesis_fork_version: hex(genesisForkVersion),
    capella_fork_version: hex(capellaForkVersion),
    capella_epoch: capellaEpoch,
    genesis_validators_root: hex(genesisValidatorsRoot),
  }
}

const FORMS: Readonly<Record<string, (good: string) => string>> = {
  'as it is': (good) => good,
  'with a byte order mark': (good) => `\ufeff${good}`,
  'with CR LF': (good) => `${good.replaceAll(/\r?\n/g, '\r\n')}\r\n`,
  'with both, and a last empty line': (good) => `\ufeff${good.replaceAll(/\r?\n/g, '\r\n')}\r\n\r\n`,
}

const swapped = (content: string) => Buffer.from(content, 'utf16le').swap16()
const ENCODINGS: readonly (readonly [string, (good: string) => Uint8Array])[] = [
  ['UTF-16 (little endian)', (good) => Buffer.from(`\ufeff${good}`, 'utf16le')],
  ['UTF-16 (big endian)', (good) => swapped(`\ufeff${good}`)],
  ['UTF-16 (little endian)', (good) => Buffer.from(good, 'utf16le')],
  ['UTF-16 (big endian)', (good) => swapped(good)],
]

async function outcomeOf({ read }: Reader, file: string): Promise<string> {
  try {
    await read(file)
    return READ
  } catch (error) {
    const words: string[] = []
    for (let next = error; next instanceof Error; next = next.cause) words.push(next.message)
    return words.includes(READ) ? READ : words.join('\n')
  }
}

/** What a file may have at most, in MiB, where it is more than one. The journal is our own, and as long as it has become. */
const MOST_MIB: Readonly<Record<string, number>> = {
  'a lock at the relayer': 256,
  'a lock at the sidecar': 256,
  'a list of public keys': 64,
  'a bundle': 64,
  'a signed bundle': 64,
  'a keyshares file': 256,
  'proofs of a DKG': 256,
  'dvt-verify: the network': 16,
  'dvt-verify: the oracle config': 16,
  'dvt-verify: a share': 16,
  'dvt-verify: a key': 16,
}

describe.each(Object.entries(READERS))('%s', (name, reader) => {
  const file = (content: string | Uint8Array) => fileOf(content, name.includes('password') ? 'password' : 'file.json')

  it.each(Object.entries(FORMS))('is read %s', async (_, form) => {
    expect(await outcomeOf(reader, file(form(reader.good)))).toBe(READ)
  })

  it('is refused in another encoding, by its name, and nothing of it is repeated', async () => {
    for (const [encoding, encode] of ENCODINGS) {
      const said = await outcomeOf(reader, file(encode(reader.good)))
      expect(said).toContain(`is ${encoding} text: save it as UTF-8`)
      expect(said.replaceAll(folder, '')).not.toContain(reader.good.trim().slice(0, 40))
    }
  })
})

it.each(Object.entries(READERS).filter(([name]) => name !== 'a deposit journal'))(
  '%s is read no further than it can be long',
  async (name, reader) => {
    const path = fileOf('', name.includes('password') ? 'password' : 'file.json')
    truncateSync(path, (MOST_MIB[name] ?? 1) * 2 ** 20 + 1)
    expect(await outcomeOf(reader, path)).toMatch(/is larger than \d+ bytes|is too large to be what it should/)
  },
)

describe('the shared way', () => {
  it('names what is neither UTF-8 nor UTF-16, and UTF-32', () => {
    expect(() => decodeText(Buffer.from('Müller', 'latin1'))).toThrow(/^is not UTF-8 text \(Latin-1 or Windows-1252/)
    expect(() => decodeText(Uint8Array.of(0xff, 0xfe, 0, 0, 65, 0, 0, 0))).toThrow(/^is UTF-32 \(little endian\)/)
    expect(() => decodeText(Uint8Array.of(0, 0, 0xfe, 0xff, 0, 0, 0, 65))).toThrow(/^is UTF-32 \(big endian\)/)
    expect([decodeText(new Uint8Array()), decodeText(Uint8Array.of(65)), decodeText(Buffer.from('ü'))]).toEqual([
      '',
      'A',
      'ü',
    ])
  })

  it('passes over letters of another encoding in a comment, where only ASCII counts', () => {
    const line = `# M\u00fcller\nnode-1 sidecar 1 sha256:${hashOf('x')}\n`
    expect(readTokens(fileOf(Buffer.from(line, 'latin1'))).size).toBe(1)
  })

  /** Who reads files otherwise, and why. */
  const OTHERWISE: Readonly<Record<string, string>> = {
    'apps/sidecar/src/policy/journal-file.ts': 'every byte has its place: lines are appended behind it',
    'apps/sidecar/src/doctor/journal.ts': 'as the journal itself is read',
    'libs/db/src/embedded/postgres-binaries.ts': 'a file of the package',
    'libs/db/src/embedded/home.ts': 'files that only this program writes',
    'libs/db/src/embedded/server.ts': 'the log of PostgreSQL',
    'libs/db/src/embedded/postmaster.ts': 'files of PostgreSQL and of the kernel',
    'libs/db/src/embedded/data-dir-lock.ts': 'a file that only this program writes',
    'libs/db/src/embedded/embedded-postgres.ts': 'files that only this program and its PostgreSQL write',
  }

  /** What each source reads in the shared way: by its names in the table of readers, or why none is there. */
  const READ: Readonly<Record<string, readonly string[] | string>> = {
    'apps/relayer/src/cli/air-gap/bundle.ts': 'a lock or a keyshares file, parsed as those of the table',
    'apps/relayer/src/cli/air-gap/relayer.ts': ['the token of who carries bundles'],
    'apps/relayer/src/doctor/clusters.ts': 'the list of public keys, as the relayer reads it',
    'apps/relayer/src/http/auth/tokens.ts': ['a tokens file'],
    'apps/relayer/src/http/routes/status.ts': 'files of the package',
    'apps/relayer/src/services/clusters/key-list.ts': ['a list of public keys'],
    'apps/relayer/src/services/clusters/locks.ts': ['a lock at the relayer'],
    'apps/relayer/src/services/registrations/wallet-key.ts': ['a wallet', 'the password of a wallet'],
    'apps/relayer/src/services/sealing/sealing.ts': ['the sealing key'],
    'apps/sidecar/src/keystores/obol/lock.ts': ['a lock at the sidecar'],
    'apps/sidecar/src/keystores/obol/read-keystores.ts': ['a keystore', 'the password of a keystore'],
    'apps/sidecar/src/keystores/ssv/operators.ts': [
      ...['the key of an operator', 'the password of an operator', 'the bare key of an operator'],
    ],
    'apps/sidecar/src/keystores/ssv/state-file.ts':
      'a file that only this program writes, and reads anew from the chain',
    'apps/sidecar/src/lists/identity.ts': ["charon's key of a node"],
    'apps/sidecar/src/lists/relayer-http.ts': ['where the relayer is'],
    'apps/sidecar/src/pem.ts': ['a certificate'],
    'apps/verify/src/input.ts': Object.keys(READERS).filter((name) => name.startsWith('dvt-verify')),
    'libs/api/src/bundle.ts': ['a bundle', 'a signed bundle'],
    'libs/chain/src/networks.ts': ['a network file'],
    'libs/chain/src/ssv/keyshares-files.ts': ['a keyshares file', 'proofs of a DKG'],
    'libs/common/src/files/env-file.ts': ['a .env file'],
    'libs/common/src/settings.ts': ['a secret in NAME_FILE'],
  }
  const SHARED = 'libs/common/src/files/text-file.ts'

  const sources = ['apps', 'libs'].flatMap((part) =>
    readdirSync(join(root, part), { recursive: true, withFileTypes: true })
      .filter(({ name }) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
      .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
      .filter((path) => path.includes('/src/') && !path.includes('node_modules') && path !== SHARED),
  )
  /** Sources in which this stands. */
  const having = (pattern: RegExp, among = sources) =>
    among.filter((path) => pattern.test(readFileSync(join(root, path), 'utf8'))).toSorted()
  const readers = having(/\bread(Text|Ascii|Bytes)(Sync)?\(/)

  it('is everybody’s', () => {
    expect(having(/\breadFile(Sync)?\(|\bcreateReadStream\(/)).toEqual(Object.keys(OTHERWISE).toSorted())
  })

  it('has all its readers in the table above', () => {
    expect(readers).toEqual(Object.keys(READ).toSorted())
    const named = Object.values(READ).flatMap((names) => (typeof names === 'string' ? [] : names))
    expect(named.toSorted()).toEqual(
      Object.keys(READERS)
        .filter((name) => name !== 'a deposit journal')
        .toSorted(),
    )
  })

  it('is the only one to make text of the bytes of a file', () => {
    const OWN = /\bnew TextDecoder\(|\.toString\(\s*['"](latin1|binary|ascii|utf-?8|utf-?16le|ucs-?2)['"]/
    expect(OWN.test("bytes.toString('latin1')")).toBe(true)
    expect(having(OWN, readers)).toEqual([])
  })
})
