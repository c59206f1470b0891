import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { expect, test } from 'vitest'
import { makeOracles } from '../../support/chain/oracles.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { type Home, makeHome } from '../home.ts'
import { makeKey, signRoot } from '../keys.ts'
import type { Message } from '../story/scene.ts'
import { gatherSecrets, readLogs } from './run-secrets.ts'
import { findLeaks } from './secrets.ts'

const SECRET = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
const secrets = [{ kind: 'key share', value: new Uint8Array(Buffer.from(SECRET, 'hex')) }]

test('what relayer, sidecars and PostgreSQL print is searched, what the liar prints is not', async () => {
  await using home = makeHome()
  mkdirSync(join(home.data, 'postgres'), { recursive: true })
  const planted = `time DEBUG something  value=${SECRET}\n`
  for (const name of ['relayer.1.log', 'sidecar-4.5.log', 'liar.6.log']) writeFileSync(join(home.logs, name), planted)
  for (const name of ['log', 'log.1', 'connection.json']) writeFileSync(join(home.data, 'postgres', name), planted)
  const found = findLeaks(await readLogs(home), secrets).map(({ file }) => file)
  const searched = ['logs/relayer.1.log', 'logs/sidecar-4.5.log', 'data/postgres/log', 'data/postgres/log.1']
  expect(new Set(found)).toEqual(new Set(searched))
})

test('a log without debug lines is not taken for a clean one', async () => {
  await using home = makeHome()
  mkdirSync(join(home.data, 'postgres'), { recursive: true })
  writeFileSync(join(home.logs, 'relayer.1.log'), 'time INFO  relayer started\n')
  await expect(readLogs(home)).rejects.toThrow('debug level')
})

/** A run of one validator, whose nodes were asked to sign these kinds of messages. */
async function runOf(home: Home, kinds: readonly Message['kind'][]) {
  const hostileLog = join(home.logs, 'liar.1.log')
  writeFileSync(hostileLog, `${toHex(signRoot(new Uint8Array(32).fill(9), makeKey().secretKey))}\n`)
  mkdirSync(join(home.data, 'postgres'), { recursive: true })
  writeFileSync(
    join(home.data, 'postgres', 'connection.json'),
    JSON.stringify({ password: 'password of the database' }),
  )
  writeFileSync(join(home.data, 'sealing.key'), `${'5e'.repeat(32)}\n`)
  const address = new Uint8Array(20).fill(1)
  const cluster = await makeCluster({
    dir: home.cluster,
    nodes: 4,
    threshold: 3,
    validators: 1,
    network: networks.hoodi,
    withdrawalAddress: address,
    feeRecipient: address,
  })
  const [validator] = cluster.validators
  if (validator === undefined) throw new Error('no validator was made')
  const publicKey = toHex(validator.publicKey)
  const messages = kinds.map(
    (kind, position): Message => ({ kind, publicKey, root: new Uint8Array(32).fill(position + 1) }),
  )
  const generation = {
    kinds: ['exit', 'deposit'] as const,
    messages,
    chain: { oracles: makeOracles(2) },
    secrets: async () => [{ kind: 'password of a wallet', value: 'quite a long password' }],
  }
  const oracleShares = [signRoot(new Uint8Array(32).fill(8), makeKey().secretKey)]
  return { run: { home, cluster, generation, oracleShares, hostileLog }, validator, messages }
}

test('whole and partial signatures of every message are searched for, and what the generation adds', async () => {
  await using home = makeHome()
  const { run, validator, messages } = await runOf(home, ['exit', 'deposit'])
  const gathered = await gatherSecrets(run)
  const [root = new Uint8Array(), depositRoot = new Uint8Array()] = messages.map((message) => message.root)
  const [, second] = validator.shares
  const planted: [kind: string, text: string][] = [
    ['exit signature', toHex(signRoot(root, validator.secretKey))],
    ['partial exit signature', toHex(signRoot(root, second?.secretKey ?? new Uint8Array()))],
    ['deposit signature', toHex(signRoot(depositRoot, validator.secretKey))],
    ['partial deposit signature', toHex(signRoot(depositRoot, second?.secretKey ?? new Uint8Array()))],
    ['password of a wallet', 'quite a long password'],
    ['database password', 'password of the database'],
  ]
  for (const [kind, text] of planted)
    expect(findLeaks(new Map([['log', `DEBUG something value=${text}\n`]]), gathered)).toContainEqual(
      expect.objectContaining({ kind, line: 1 }),
    )
})

test('a search that knows nothing of a kind is refused', async () => {
  await using home = makeHome()
  const { run } = await runOf(home, ['exit'])
  await expect(gatherSecrets(run)).rejects.toThrow('no deposit signature to search for')
})
