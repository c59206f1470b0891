import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { readAsciiSync, readBytes, readBytesSync, readText, readTextSync } from './text-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'text-file-'))
afterAll(() => rmSync(folder, { recursive: true }))
const TOO_LARGE = { code: 'TEXT_TOO_LARGE', message: 'is larger than 100000 bytes' }

function fileOf(bytes: number): string {
  const path = join(folder, `${bytes}`)
  writeFileSync(path, 'x'.repeat(bytes))
  return path
}

describe('a file', () => {
  it.each([0, 1, 65_535, 65_536, 65_537, 99_999, 100_000])('of %i bytes is read whole', async (bytes) => {
    const path = fileOf(bytes)
    const text = 'x'.repeat(bytes)
    expect([await readText(path, 100_000), readTextSync(path, 100_000), readAsciiSync(path, 100_000)]).toEqual([
      text,
      text,
      text,
    ])
    expect([(await readBytes(path, 100_000)).length, readBytesSync(path, 100_000).length]).toEqual([bytes, bytes])
  })

  it('of more bytes than it may have is refused: by what it says, and where it says nothing, by what comes', async () => {
    const sparse = join(folder, 'sparse')
    writeFileSync(sparse, '')
    truncateSync(sparse, 2 ** 40)
    for (const path of [fileOf(100_001), sparse, '/dev/zero']) {
      await expect(readText(path, 100_000)).rejects.toMatchObject(TOO_LARGE)
      expect(() => readTextSync(path, 100_000)).toThrow(expect.objectContaining(TOO_LARGE))
      expect(() => readAsciiSync(path, 100_000)).toThrow(expect.objectContaining(TOO_LARGE))
    }
    // Unless it is said otherwise, keys and passwords.
    expect(() => readTextSync(sparse)).toThrow('is larger than 1048576 bytes')
  })

  it('that does not say how long it is, is read to its end', async () => {
    expect(readTextSync('/proc/self/status')).toContain(`Pid:\t${process.pid}`)
    expect(await readText('/proc/self/status')).toContain(`Pid:\t${process.pid}`)
    const script = `import { readTextSync } from ${JSON.stringify(new URL('./text-file.ts', import.meta.url).href)}; console.log(readTextSync('/dev/stdin').length)`
    const pipe = 'yes | head -c 200000 | "$0" --input-type=module -e "$1"'
    expect(execFileSync('sh', ['-c', pipe, process.execPath, script]).toString().trim()).toBe('200000')
  })

  it('that cannot be read is refused with the reason of the system', async () => {
    for (const [path, code] of [
      [join(folder, 'none'), 'ENOENT'],
      [folder, 'EISDIR'],
    ] as const) {
      await expect(readText(path)).rejects.toMatchObject({ code })
      expect(() => readTextSync(path)).toThrow(expect.objectContaining({ code }))
    }
  })
})
