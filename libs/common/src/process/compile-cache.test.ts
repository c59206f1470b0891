import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { keepCompiled } from './compile-cache.ts'

it('leaves nothing to be written later, when others are answered', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dvt-compiled-'))
  vi.useFakeTimers()
  try {
    keepCompiled({ NODE_COMPILE_CACHE: folder })
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
    rmSync(folder, { recursive: true })
  }
})
