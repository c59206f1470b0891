/** Rows of generation 4: the poll of `/register` with ten ready validators, and the unpaged list of 10,000 validators. */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RegisterResponse, ValidatorListResponse } from '@dvt-relayer/api/schemas.ts'
import { networks } from '@dvt-relayer/chain/networks.ts'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { createTestKeys } from '../../support/keys/keys.ts'
import { makeCluster } from '../../support/keys/make-cluster.ts'
import { createTestDatabase } from '../../support/services/postgres.ts'
import { startProcess } from '../../support/services/process.ts'
import { sidecar2Round } from '../../support/world/nodes.ts'
import { startVaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'
import { startClient } from '../client.ts'
import { percentile, sendJson } from '../measure.ts'
import type { BenchRow } from '../report.ts'
import { formatMs } from '../report.ts'
import type { Stage } from '../stage.ts'
import { THRESHOLD } from '../stage.ts'

const READY = 10
const POLLS = 1000
const OPEN = 10_000
const PER_REQUEST = 1000
const LISTS = 1000
const RENDERINGS = 20
const ETH32 = 32_000_000_000

/** Runs both rows on one relayer with a chain of its own. */
export async function benchRegister(stage: Stage): Promise<BenchRow[]> {
  await using world = await startVaultWorld()
  await using database = await createTestDatabase()
  const vault = await world.deployVault()
  const cluster = await makeCluster({
    dir: join(stage.dir, 'registrations'),
    nodes: 4,
    threshold: THRESHOLD,
    validators: READY,
    network: networks.hoodi,
    withdrawalAddress: Buffer.from(vault.address.slice(2), 'hex'),
    feeRecipient: randomBytes(20),
    name: 'registrations',
  })
  const keysFile = join(stage.dir, 'public-keys.csv')
  const silent = createTestKeys(OPEN - READY, { nodes: 0, threshold: 1 }).map(({ publicKey }) => toHex(publicKey))
  await writeFile(keysFile, `${silent.join('\n')}\n`)
  await using app = startProcess(
    'relayer',
    world.environment({
      DATABASE_URL: database.url,
      CLUSTER_LOCK_FILES: cluster.lockFile,
      PUBLIC_KEYS_FILE: keysFile,
      SIGNATURE_THRESHOLD: String(THRESHOLD),
    }),
  )
  const { url } = await app.logged('relayer started')
  if (typeof url !== 'string') throw new Error('the relayer does not say where it listens')
  const startIndex = world.beacon.validatorCount
  const requestOf = (to: string, count: number) => ({
    vault: to,
    validators_start_index: startIndex,
    amounts: Array.from({ length: count }, () => ETH32),
    validator_type: '0x01',
  })
  const ask = (to: string, count: number) => sendJson<RegisterResponse>(url, '/register', requestOf(to, count))

  await eventually('the registry', () => ask(vault.address, READY).catch(() => undefined))
  for (let index = 1; index <= THRESHOLD; index++) await sidecar2Round(url, world.network, cluster.validators, index)
  await eventually('a registration', async () => {
    const { validators_manager_signature: signature } = await ask(vault.address, READY)
    return signature ?? undefined
  })
  await using client = startClient()
  const polls = await client.inTurn(url, '/register', POLLS, JSON.stringify(requestOf(vault.address, READY)))
  const nodes: number[] = []
  for (let question = 0; question < POLLS; question++)
    nodes.push(await clocked(() => world.anvil.rpc('eth_getBlockByNumber', 'latest', false)))

  for (let left = OPEN - READY; left > 0; left -= PER_REQUEST)
    await ask(toHex(randomBytes(20)), Math.min(PER_REQUEST, left))
  const whole = await sendJson<ValidatorListResponse>(url, '/validators')
  if (whole.validators.length < OPEN - READY) throw new Error(`only ${whole.validators.length} validators are listed`)
  const lists = await client.inTurn(url, '/validators', LISTS)
  const rendering: number[] = []
  for (let round = 0; round < RENDERINGS; round++)
    rendering.push(await clocked(async () => Buffer.from(JSON.stringify(whole))))
  await app.end('SIGTERM')

  const poll = { p50: percentile(polls, 0.5), p99: percentile(polls, 0.99) }
  const node = { p50: percentile(nodes, 0.5), p99: percentile(nodes, 0.99) }
  const list = { p50: percentile(lists, 0.5), p99: percentile(lists, 0.99) }
  const render = percentile(rendering, 0.5)
  return [
    {
      id: 'register',
      name: `POST /register, the poll of ${READY} ready validators, p99 of ${POLLS}`,
      measured: `${formatMs(poll.p99)} (p50 ${formatMs(poll.p50)})`,
      target: "≤ 15 ms apart from the nodes' own time",
      isMet: poll.p99 - node.p50 <= 15,
      baseline: `the one question to the execution node alone: p50 ${formatMs(node.p50)}, p99 ${formatMs(node.p99)}`,
      ratio: poll.p50 / node.p50,
      limit: 'seven queries to PostgreSQL and two to each node, half of them one after the other',
      values: { p50_ms: poll.p50, p99_ms: poll.p99, node_p50_ms: node.p50, node_p99_ms: node.p99 },
    },
    {
      id: 'validator-list',
      name: `GET /validators with ${OPEN} open, unpaged, p99 of ${LISTS}`,
      measured: `${formatMs(list.p99)} (p50 ${formatMs(list.p50)})`,
      target: '≤ 25 ms',
      isMet: list.p99 <= 25,
      baseline: `one JSON.stringify of the list: ${formatMs(render)}`,
      ratio: list.p50 / render,
      limit: 'sending 4 MB through loopback',
      values: { p50_ms: list.p50, p99_ms: list.p99, stringify_ms: render },
    },
  ]
}

async function clocked(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}
