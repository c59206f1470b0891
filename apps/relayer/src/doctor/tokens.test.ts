import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@dvt-relayer/common/hex.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RelayerConfig } from '../config.ts'
import { createToken } from '../http/auth/tokens.ts'
import { examineTokens } from './tokens.ts'

const LOCK = new Uint8Array(32).fill(1)
const OTHER = `0x${'02'.repeat(32)}`
let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dvt-tokens-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

async function find(
  lines: string[],
  { url = 'https://relayer.example' as string | null, pins = [LOCK], hasObolApi = false, lockFiles = ['lock'] } = {},
) {
  const authTokensFile = join(dir, 'tokens')
  await writeFile(authTokensFile, [createToken('node-1', 'sidecar', '1').line, ...lines].join('\n'))
  return examineTokens({
    http: { authTokensFile, publicUrl: url === null ? undefined : new URL(url), hasObolApi },
    clusters: { lockHashes: pins, lockFiles },
  } as unknown as RelayerConfig)
}

it('says which nodes may call by their keys', async () => {
  const found = await find([`nodes ${toHex(LOCK)}`, 'operators 263,280'])
  expect(found).toMatchObject({
    status: 'good',
    details: [],
    message: expect.stringMatching(/1 sidecar, nodes of 1 lock by their keys, SSV operator 263, 280 by their keys$/),
    facts: { nodes_by_key: toHex(LOCK), operators_by_key: '263, 280' },
  })
  expect((await find(['nodes *', 'operators *'])).message).toMatch(
    /nodes of every pinned lock by their keys, every SSV operator by its key$/,
  )
  expect((await find([])).facts).not.toHaveProperty('nodes_by_key')
})

it('says what keeps out those that it lets in', async () => {
  expect(await find([`nodes ${OTHER}`, 'operators 5'], { url: null })).toMatchObject({
    status: 'warning',
    details: [
      'PUBLIC_URL is not set: nodes that sign their requests are refused',
      `the lock ${OTHER} is not one of CLUSTER_LOCK_HASHES: its nodes are refused`,
    ],
  })
  expect((await find(['nodes *'], { pins: [] })).details).toEqual([
    'CLUSTER_LOCK_HASHES pins no lock: nodes that sign their requests are refused',
  ])
})

it('says that nodes may come with charon alone, and what keeps those out', async () => {
  const found = await find([], { hasObolApi: true, url: null })
  expect(found).toMatchObject({ status: 'good', details: [], facts: { nodes_by_charon: true } })
  expect(found.message).toMatch(/1 sidecar, nodes of locks with charon alone \(OBOL_API\)$/)
  expect((await find([])).facts).not.toHaveProperty('nodes_by_charon')
  const closed = await find([], { hasObolApi: true, url: 'https://example.org/relayer', lockFiles: [] })
  expect(closed).toMatchObject({
    status: 'warning',
    details: [
      'OBOL_API=on takes what charon posts for imported cluster locks, and CLUSTER_LOCK_FILES names none',
      'charon posts to the root of a host, and PUBLIC_URL has the path /relayer: OBOL_API=on wants a host of its own',
    ],
  })
})
