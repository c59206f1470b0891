import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { makeHome } from './home.ts'
import { readLogs } from './run-secrets.ts'
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
