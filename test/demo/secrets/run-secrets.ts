/** Every secret of one run of the demo, gathered where it lies, and everything that was printed. */

import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fromHex, toHex } from '@dvt-relayer/common/hex.ts'
import type { MadeCluster, MadeValidator } from '../../support/keys/make-cluster.ts'
import { DemoError } from '../errors.ts'
import type { Home } from '../home.ts'
import { signRoot } from '../keys.ts'
import type { Chain, Generation } from '../story/scene.ts'
import { isSearched } from '../story/stage.ts'
import type { Secret } from './secrets.ts'

interface Run {
  home: Home
  cluster: MadeCluster
  generation: Pick<Generation, 'kinds' | 'messages' | 'secrets'> & { chain: Pick<Chain, 'oracles'> }
  /** What the oracles decrypted. */
  oracleShares: readonly Uint8Array[]
  /** What the hostile process printed: its signatures, one a line. */
  hostileLog: string
}

async function readPasswords({ nodes }: MadeCluster): Promise<string[]> {
  const files = await Promise.all(
    nodes.map(async ({ keystoresDir }) =>
      (await readdir(keystoresDir)).filter((name) => name.endsWith('.txt')).map((name) => join(keystoresDir, name)),
    ),
  )
  return Promise.all(files.flat().map(async (file) => (await readFile(file, 'utf8')).trim()))
}

/** The whole signatures of these messages, and all partial ones that the nodes can have made. */
function signaturesOf({ cluster, generation }: Run): Secret[] {
  const validators = new Map<string, MadeValidator>(cluster.validators.map((made) => [toHex(made.publicKey), made]))
  const messages = new Map(generation.messages.map((message) => [toHex(message.root), message]))
  return [...messages.values()].flatMap(({ kind, publicKey, root }): Secret[] => {
    const made = validators.get(publicKey)
    if (made === undefined) throw new DemoError('nodes signed for a validator that is not of the cluster')
    return [
      { kind: `${kind} signature`, value: signRoot(root, made.secretKey) },
      ...made.shares.map(({ secretKey }) => ({ kind: `partial ${kind} signature`, value: signRoot(root, secretKey) })),
    ]
  })
}

/**
 * Gathers the secrets.
 *
 * @throws {DemoError} when a kind has none: a search for nothing would always end well
 */
export async function gatherSecrets(run: Run): Promise<Secret[]> {
  const { home, cluster, generation } = run
  const lines = (await readFile(run.hostileLog, 'utf8')).split('\n').filter((line) => line.startsWith('0x'))
  const connection = JSON.parse(await readFile(join(home.data, 'postgres', 'connection.json'), 'utf8'))
  const sealingKey = (await readFile(join(home.data, 'sealing.key'), 'utf8')).trim()
  const enrKeys = await Promise.all(
    cluster.nodes.map(async ({ enrKeyFile }) => (await readFile(enrKeyFile, 'utf8')).trim()),
  )
  const kinds: Record<string, readonly (Uint8Array | string)[]> = {
    'validator secret key': cluster.validators.map(({ secretKey }) => secretKey),
    'key share': cluster.validators.flatMap(({ shares }) => shares.map(({ secretKey }) => secretKey)),
    'keystore password': await readPasswords(cluster),
    'node identity key': enrKeys.map((key) => fromHex(key, 32)),
    'wrong partial signature': lines.map((line) => fromHex(line, 96)),
    'oracle secret key': generation.chain.oracles.map(({ secretKey }) => secretKey),
    'decrypted oracle share': run.oracleShares,
    'sealing key': [fromHex(sealingKey, 32)],
    'database password': [String(connection.password)],
  }
  const secrets = [
    ...Object.entries(kinds).flatMap(([kind, values]) => values.map((value): Secret => ({ kind, value }))),
    ...signaturesOf(run),
    ...(await generation.secrets()),
  ]
  const signatures = generation.kinds.flatMap((kind) => [`${kind} signature`, `partial ${kind} signature`])
  for (const kind of [...Object.keys(kinds), ...signatures]) {
    const values = secrets.filter((secret) => secret.kind === kind)
    if (values.length === 0 || values.some(({ value }) => value.length < 16))
      throw new DemoError(`no ${kind} to search for`)
  }
  return secrets
}

/**
 * What relayer, sidecars and PostgreSQL printed, by file.
 *
 * @throws {DemoError} when a program printed nothing at debug level: then there is nothing to search
 */
export async function readLogs(home: Home): Promise<Map<string, string>> {
  const own = (await readdir(home.logs)).filter(isSearched).map((name) => join(home.logs, name))
  const postgres = join(home.data, 'postgres')
  const theirs = (await readdir(postgres))
    .filter((name) => /^log(\.\d)?$/.test(name))
    .map((name) => join(postgres, name))
  const logs = new Map<string, string>()
  for (const file of [...own, ...theirs]) logs.set(relative(home.path, file), await readFile(file, 'utf8'))
  for (const file of own)
    if (!/ DEBUG /.test(logs.get(relative(home.path, file)) ?? ''))
      throw new DemoError('a program printed nothing at debug level', file)
  return logs
}
