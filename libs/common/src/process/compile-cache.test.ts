import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'

it('is written at the end of a process, however it ends by itself, and not while it works', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dvt-compiled-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const written = () =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length
  const module = new URL('./compile-cache.ts', import.meta.url).href
  const program = `
    import module, { syncBuiltinESMExports } from 'node:module'
    let early = 0
    module.flushCompileCache = () => early++
    syncBuiltinESMExports()
    // Whatever is put off for later happens at once.
    globalThis.setTimeout = (then) => (then(), { unref() {} })
    const { keepCompiled } = await import(${JSON.stringify(module)})
    keepCompiled(process.env)
    process.on('SIGTERM', () => process.exit(early))
    process.kill(process.pid, 'SIGTERM')
    setInterval(() => {}, 1000)`
  execFileSync(process.execPath, ['--input-type=module', '--eval', program], {
    env: { ...process.env, NODE_COMPILE_CACHE: folder },
    stdio: 'pipe',
  })
  expect(written()).toBeGreaterThan(0)
})
