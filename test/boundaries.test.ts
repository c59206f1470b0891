/** Every arrow of the house is a rule: one forbidden import for each is written into a file of that folder and must be caught. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
const written: string[] = []

/** Whether the linter refuses `import specifier` in a file of `folder`. */
function isRefused(folder: string, specifier: string): boolean {
  const file = join(root, folder, `boundary-probe-${written.length}.ts`)
  written.push(file)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `import * as probe from '${specifier}'\n\nexport const value = probe\n`)
  try {
    execFileSync(process.execPath, [biome, 'lint', '--vcs-enabled=false', file], { cwd: root, stdio: 'pipe' })
    return false
  } catch (error) {
    const { stdout, stderr } = error as { stdout: Buffer; stderr: Buffer }
    const text = `${stdout}${stderr}`
    if (!text.includes('noRestrictedImports')) throw new Error(text)
    return true
  }
}

afterEach(() => {
  for (const file of written) rmSync(file, { force: true })
})

describe('the arrows of the house', () => {
  it.each([
    ['libs/common/src', '@dvt-relayer/crypto/bls/bls.ts'],
    ['libs/crypto/src', '@dvt-relayer/chain/networks.ts'],
    ['libs/crypto/src', '@dvt-relayer/db/connect.ts'],
    ['libs/crypto/src', '../../db/src/connect.ts'],
    ['libs/db/src/queries', '../../../crypto/src/bls.ts'],
    ['libs/crypto/src', 'node:fs'],
    ['libs/crypto/src', 'node:http'],
    ['libs/api/src', '@dvt-relayer/crypto/bls/bls.ts'],
    ['libs/chain/src', '@dvt-relayer/db/connect.ts'],
    ['libs/chain/src', '@dvt-relayer/api/routes.ts'],
    ['libs/db/src', '@dvt-relayer/crypto/bls/bls.ts'],
    ['libs/db/src/queries', '@dvt-relayer/queue/queue.ts'],
    ['libs/queue/src', '@dvt-relayer/db/connect.ts'],
    ['apps/relayer/src', '@dvt-relayer/sidecar/src/main.ts'],
    ['apps/relayer/src', '../../sidecar/src/main.ts'],
    ['apps/relayer/src/services', '../http/app.ts'],
    ['apps/relayer/src/services', '../jobs/worker.ts'],
    ['apps/relayer/src/services', 'fastify'],
    ['apps/relayer/src/http', '@dvt-relayer/db/connect.ts'],
    ['apps/relayer/src/http/routes', 'drizzle-orm'],
    ['apps/relayer/src/http', 'pg'],
    ['apps/relayer/src/jobs', '@dvt-relayer/db/connect.ts'],
    ['apps/sidecar/src', '@dvt-relayer/relayer/src/main.ts'],
    ['apps/sidecar/src', '@dvt-relayer/db/connect.ts'],
    ['apps/sidecar/src', '@dvt-relayer/queue/queue.ts'],
    ['apps/sidecar/src', 'fastify'],
    ['apps/sidecar/src', 'pg'],
    ['apps/sidecar/src', '../../verify/src/cli.ts'],
    ['apps/relayer/src', '../../verify/src/cli.ts'],
    ['apps/relayer/src/services', '../../../verify/src/cli.ts'],
    ['apps/relayer/src/http', '../../../verify/src/cli.ts'],
    ['apps/verify/src', '../../relayer/src/main.ts'],
    ['apps/verify/src', '../../sidecar/src/main.ts'],
    ['apps/verify/src', '@dvt-relayer/db/connect.ts'],
    ['apps/verify/src', '@dvt-relayer/api/client.ts'],
    ['apps/verify/src', '@dvt-relayer/chain/execution/execution.ts'],
    ['apps/verify/src', '@dvt-relayer/crypto/bls/blst.ts'],
    ['apps/verify/src', 'viem'],
  ])('%s may not import %s', (folder, specifier) => {
    expect(isRefused(folder, specifier)).toBe(true)
  })

  it.each([
    ['libs/crypto/src', '@dvt-relayer/common/hex.ts'],
    ['libs/chain/src', '@dvt-relayer/crypto/bls/bls.ts'],
    ['apps/relayer/src/services', '@dvt-relayer/db/connect.ts'],
    ['apps/sidecar/src', '@dvt-relayer/api/client.ts'],
    ['apps/verify/src', '@dvt-relayer/crypto/bls/noble.ts'],
    ['apps/verify/src', '@dvt-relayer/chain/stakewise/oracle-config.ts'],
  ])('%s may import %s', (folder, specifier) => {
    expect(isRefused(folder, specifier)).toBe(false)
  })
})
