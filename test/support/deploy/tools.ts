/** What judges charts and compose files: helm, helm-unittest, the schemas of Kubernetes, docker compose, hadolint. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
/** Each takes seconds at most. */
const PATIENCE_MS = 120_000

const TOOLS = {
  helm: 'bin/helm',
  'helm-unittest': 'bin/helm-unittest',
  'docker-compose': 'bin/docker-compose',
  'kubernetes-validate': 'python/bin/kubernetes-validate',
  hadolint: 'python/bin/hadolint',
} as const
type Tool = keyof typeof TOOLS

const pathOf = (tool: Tool): string => join(process.env['DEPLOY_TOOLS_DIR'] ?? join(ROOT, '.deploy-tools'), TOOLS[tool])

/**
 * Whether the tools are here. Without them tests are skipped on a laptop (`test/integration/deploy/install.sh` brings them); on CI they
 * must be here.
 */
export function hasDeployTools(): boolean {
  const missing = (Object.keys(TOOLS) as Tool[]).map(pathOf).filter((path) => !existsSync(path))
  if (missing.length > 0 && process.env['CI'] === 'true')
    throw new Error(`${missing.join(', ')} missing: CI installs them`)
  return missing.length === 0
}

/** Whether a program of Debian is here. Without it tests are skipped on a laptop; on CI it must be here. */
export function hasProgram(name: string): boolean {
  const found = (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)))
  if (!found && process.env['CI'] === 'true') throw new Error(`${name} is missing: CI installs it`)
  return found
}

export interface Outcome {
  status: number | null
  stdout: string
  stderr: string
}

/** Runs a program in the repository's root, or in `cwd`. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Outcome {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: PATIENCE_MS,
    maxBuffer: 16 * 1024 * 1024,
    ...options,
  })
  if (error !== undefined) throw error
  return { status, stdout, stderr }
}

/** Runs one of the tools. */
export const runTool = (
  tool: Tool,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Outcome => run(pathOf(tool), args, options)
