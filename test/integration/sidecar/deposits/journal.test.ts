/** The deposit journal on a real disk: what is bound stays bound, whatever happens to the process, the disk and the file. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { BigIntStats } from 'node:fs'
import {
  appendFile,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createJournal, type Journal } from '../../../../apps/sidecar/src/policy/journal.ts'
import { formatLine, HEADER } from '../../../../apps/sidecar/src/policy/journal-lines.ts'

const CHILD = fileURLToPath(new URL('./journal-child.ts', import.meta.url))
const VAULT = `0x${'11'.repeat(20)}`
const OTHER_VAULT = `0x${'22'.repeat(20)}`
const keyOf = (number: number) => `0x${number.toString(16).padStart(96, '0')}`
const bindingOf = (number: number, vault = VAULT) => ({ publicKey: keyOf(number), vault })
const HEADER_LINES = HEADER.split('\n').length - 1

let root = ''
let positions = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'dvt-journal-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))
const newFile = () => join(root, String(++positions), 'deposits.journal')

/** A journal and what it told of itself. */
function journalAt(file: string): Journal & { told: string[] } {
  const told: string[] = []
  const journal = createJournal(file, {
    journalOpened: (_, keys) => void told.push(`opened ${keys}`),
    journalRepaired: (_, line) => void told.push(`repaired ${line}`),
    journalTaken: () => void told.push('taken'),
    keysBound: (keys, count) => void told.push(`bound ${count}, ${keys} in all`),
  })
  return Object.assign(journal, { told })
}

/** A process with the journal; its lines are read, its end is awaited. */
function startChild(file: string, batches: readonly string[], before = '') {
  const command = `${before}exec "$0" "$@"`
  const child = spawn('sh', ['-c', command, process.execPath, CHILD, file, ...batches], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const lines = () => Buffer.concat(chunks).toString().trim().split('\n')
  return {
    lines,
    said: async (line: string) => {
      while (!lines().includes(line)) await once(child.stdout, 'data')
    },
    ended: once(child, 'close').then(lines),
    kill: async () => {
      child.kill('SIGKILL')
      await once(child, 'close')
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL')
        await once(child, 'close')
      }
    },
  }
}

describe('deposit journal', () => {
  it('makes nothing but its lock before something is bound', async () => {
    const file = newFile()
    await using journal = journalAt(file)
    await journal.openExisting()
    const made = await readdir(join(root, String(positions)))
    expect(made.filter((name) => !name.startsWith('deposits.journal.lock'))).toEqual([])
    expect(journal.told).toEqual([])
  })

  it('binds a batch in one write, for its owner alone to read, and says which line stands against another vault', async () => {
    const file = newFile()
    await using journal = journalAt(file)
    expect(await journal.bind([bindingOf(1), bindingOf(2), bindingOf(1)])).toEqual([undefined, undefined, undefined])
    expect(await readFile(file, 'utf8')).toBe(HEADER + formatLine(bindingOf(1)) + formatLine(bindingOf(2)))
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect(await journal.bind([bindingOf(1, OTHER_VAULT), bindingOf(2), bindingOf(3)])).toEqual([
      HEADER_LINES + 1,
      undefined,
      undefined,
    ])
    expect(await journal.bind([bindingOf(4), bindingOf(4, OTHER_VAULT)])).toEqual([undefined, HEADER_LINES + 4])
    expect(journal.told).toEqual(['opened 0', 'bound 2, 2 in all', 'bound 1, 3 in all', 'bound 1, 4 in all'])
  })

  it('knows after a restart what was bound before', async () => {
    const file = newFile()
    {
      await using journal = journalAt(file)
      await journal.bind([bindingOf(1), bindingOf(2)])
    }
    await using journal = journalAt(file)
    expect(await journal.bind([bindingOf(2, OTHER_VAULT), bindingOf(1)])).toEqual([HEADER_LINES + 2, undefined])
    expect(journal.told).toEqual(['opened 2'])
  })

  it('lets go what the operator removes while it is stopped', async () => {
    const file = newFile()
    {
      await using journal = journalAt(file)
      await journal.bind([bindingOf(1), bindingOf(2)])
    }
    await writeFile(file, (await readFile(file, 'utf8')).replace(formatLine(bindingOf(1)), ''))
    await using journal = journalAt(file)
    expect(await journal.bind([bindingOf(1, OTHER_VAULT), bindingOf(2, OTHER_VAULT)])).toEqual([
      undefined,
      HEADER_LINES + 1,
    ])
  })

  it('removes a last line that a crash cut off, and ends one that an editor left open', async () => {
    const file = newFile()
    const whole = HEADER + formatLine(bindingOf(1))
    await mkdir(join(root, String(positions)))
    await writeFile(file, whole + formatLine(bindingOf(2)).slice(0, 100))
    {
      await using journal = journalAt(file)
      await journal.openExisting()
      expect(journal.told).toEqual([`repaired ${HEADER_LINES + 2}`, 'opened 1'])
      expect(await readFile(file, 'utf8')).toBe(whole)
    }
    await writeFile(file, whole.trimEnd())
    await using journal = journalAt(file)
    expect(await journal.bind([bindingOf(3), bindingOf(1, OTHER_VAULT)])).toEqual([undefined, HEADER_LINES + 1])
    expect(await readFile(file, 'utf8')).toBe(whole + formatLine(bindingOf(3)))
  })

  it('refuses a damaged line and leaves the file as it is', async () => {
    const file = newFile()
    await mkdir(join(root, String(positions)))
    const text = HEADER + formatLine(bindingOf(1)).replace(VAULT, OTHER_VAULT) + formatLine(bindingOf(2))
    await writeFile(file, text)
    await using journal = journalAt(file)
    await expect(journal.openExisting()).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' })
    expect(await readFile(file, 'utf8')).toBe(text)
  })
})

describe('at the same time', () => {
  it('binds a key to one vault, whoever comes first, and to no other: one after the other', async () => {
    for (let round = 0; round < 10; round++) {
      const file = newFile()
      await using journal = journalAt(file)
      // Also while the file is still being opened.
      if (round % 2 === 0) await journal.check()
      const vaults = [VAULT, OTHER_VAULT, `0x${'33'.repeat(20)}`]
      const bound = await Promise.all(vaults.map((vault) => journal.bind([bindingOf(1, vault), bindingOf(2, vault)])))
      const refused = [HEADER_LINES + 1, HEADER_LINES + 2]
      expect(bound).toEqual([[undefined, undefined], refused, refused])
      expect(await readFile(file, 'utf8')).toBe(HEADER + formatLine(bindingOf(1)) + formatLine(bindingOf(2)))
    }
  })

  it('loses no line among checks, batches and what fails', async () => {
    const file = newFile()
    await using journal = journalAt(file)
    const numbers = Array.from({ length: 20 }, (_, number) => number + 1)
    await Promise.all([
      ...numbers.flatMap((number) => [journal.bind([bindingOf(number)]), journal.check()]),
      journal.openExisting(),
    ])
    expect(await readFile(file, 'utf8')).toBe(HEADER + numbers.map((n) => formatLine(bindingOf(n))).join(''))
    expect(journal.told[0]).toBe('opened 0')
    expect(journal.told.filter((line) => line.startsWith('opened'))).toHaveLength(1)
  })
})

/** The class of file handles, whose methods a test may look at. */
async function handles(): Promise<FileHandle> {
  await using handle = await open(root, 'r')
  onTestFinished(() => void vi.restoreAllMocks())
  return Object.getPrototypeOf(handle) as FileHandle
}

describe('what is on disk', () => {
  const inodes = (paths: readonly string[]) =>
    Promise.all(paths.map(async (path) => (await stat(path, { bigint: true })).ino))

  /** What is seen to be on disk from now on, by its inode. */
  async function syncs(): Promise<bigint[]> {
    const synced: bigint[] = []
    const prototype = await handles()
    const { sync } = prototype
    vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
      synced.push((await this.stat({ bigint: true })).ino)
      return sync.call(this)
    })
    return synced
  }

  it('are the folders it makes and the name of the file before a line counts, and then the line', async () => {
    const folder = join(root, String(++positions))
    const file = join(folder, 'a', 'b', 'deposits.journal')
    const synced = await syncs()
    await using journal = journalAt(file)
    await journal.bind([bindingOf(1)])
    const folders = await inodes([root, folder, join(folder, 'a'), join(folder, 'a', 'b')])
    const [line = 0n] = await inodes([file])
    expect(new Set(synced.slice(0, synced.indexOf(line)))).toEqual(new Set(folders))
    expect(synced.at(-1)).toBe(line)
    // The folder is there already; its entry of the file is not on disk until the folder is.
    synced.length = 0
    const second = join(folder, 'second.journal')
    await using next = journalAt(second)
    await next.bind([bindingOf(1)])
    expect(synced).toEqual(await inodes([folder, second]))
    synced.length = 0
    await next.bind([bindingOf(2)])
    expect(synced).toEqual(await inodes([second]))
  })

  it.each([
    ['cut off', formatLine(bindingOf(1)).slice(0, -9)],
    ['left open', formatLine(bindingOf(1)).trimEnd()],
  ])('is a file whose last line was %s as it is mended, before anything counts', async (_, last) => {
    const file = newFile()
    const folder = join(root, String(positions))
    await mkdir(folder)
    await writeFile(file, HEADER + formatLine(bindingOf(2)) + last)
    const synced = await syncs()
    await using journal = journalAt(file)
    await journal.openExisting()
    expect(synced).toEqual(await inodes([folder, file]))
  })

  it('is nothing of a trial: what it wrote, and that it is gone', async () => {
    const file = newFile()
    await using journal = journalAt(file)
    await journal.bind([bindingOf(1)])
    const synced = await syncs()
    await journal.check()
    expect(synced).toEqual(await inodes([file, file]))
    expect(await readFile(file, 'utf8')).toBe(HEADER + formatLine(bindingOf(1)))
  })

  it('is the file that was opened, and none of the same number on another device', async () => {
    const file = newFile()
    const prototype = await handles()
    const look: (options: { bigint: true }) => Promise<BigIntStats> = prototype.stat
    const elsewhere = vi.spyOn(prototype, 'stat').mockImplementation(async function (this: FileHandle) {
      const found = await look.call(this, { bigint: true })
      return Object.assign(found, { dev: found.dev + 1n })
    })
    await using journal = journalAt(file)
    await expect(journal.bind([bindingOf(1)])).rejects.toMatchObject({ code: 'JOURNAL_UNUSABLE' })
    expect(elsewhere).toHaveBeenCalledOnce()
    expect(await readFile(file, 'utf8')).toBe('')
  })
})

describe('two processes', () => {
  it('keeps a second one out while the first lives, in this process or another, by whatever path', async () => {
    const file = newFile()
    await using child = startChild(file, ['1', 'hold'])
    await child.said('holding')
    const inUse = { code: 'JOURNAL_IN_USE', message: expect.stringContaining('another sidecar uses') }
    const link = newFile()
    await mkdir(join(root, String(positions)))
    await symlink(file, link)
    for (const path of [file, link]) {
      await using journal = journalAt(path)
      await expect(journal.openExisting()).rejects.toMatchObject(inUse)
      await expect(journal.bind([bindingOf(7)])).rejects.toMatchObject(inUse)
    }
    await child.kill()
    // What was killed leaves no lock behind, but what it bound.
    await using journal = journalAt(file)
    expect(await journal.bind([bindingOf(1, OTHER_VAULT)])).toEqual([HEADER_LINES + 1])
    await using other = journalAt(file)
    await expect(other.bind([bindingOf(2)])).rejects.toMatchObject(inUse)
  })
})

describe('two that start before there is a file', () => {
  const inUse = { code: 'JOURNAL_IN_USE' }

  it('tells the second one at once, which goes on without; the first has the journal', async () => {
    const file = newFile()
    await using first = journalAt(file)
    await first.openExisting()
    await using second = journalAt(file)
    await second.openExisting()
    expect([first.told, second.told]).toEqual([[], ['taken']])
    await expect(second.check()).rejects.toMatchObject(inUse)
    await expect(stat(file)).rejects.toThrow(/ENOENT/)
    expect(await first.bind([bindingOf(1)])).toEqual([undefined])
    await expect(second.bind([bindingOf(2)])).rejects.toMatchObject(inUse)
    await first[Symbol.asyncDispose]()
    expect(await second.bind([bindingOf(1, OTHER_VAULT)])).toEqual([HEADER_LINES + 1])
  })

  it('reads a journal that was put there after the start, and lets go of the lock when it stops', async () => {
    const file = newFile()
    const elsewhere = newFile()
    {
      await using moved = journalAt(elsewhere)
      await moved.bind([bindingOf(1)])
    }
    await using journal = journalAt(file)
    await journal.openExisting()
    await symlink(elsewhere, file)
    expect(await journal.bind([bindingOf(1, OTHER_VAULT)])).toEqual([HEADER_LINES + 1])
    await using other = journalAt(elsewhere)
    await expect(other.openExisting()).rejects.toMatchObject(inUse)
    await rm(file)
    await journal[Symbol.asyncDispose]()
    await using next = journalAt(file)
    await next.openExisting()
    expect(next.told).toEqual([])
  })

  it('needs no folder where nothing is bound', async () => {
    const folder = join(root, String(++positions))
    await writeFile(folder, 'in the way')
    await using journal = journalAt(join(folder, 'deposits.journal'))
    await journal.openExisting()
    expect(journal.told).toEqual([])
  })
})

describe('a disk in trouble', () => {
  it('cuts off what a full disk took of a batch, and goes on where there is room', async () => {
    const file = newFile()
    // 2 blocks of 512 bytes are room for the head and five lines.
    const child = startChild(file, ['2', '10', '1', '1000', '1'], 'ulimit -f 2; ')
    expect(await child.ended).toEqual([
      'bound 2',
      expect.stringMatching(/^JOURNAL_UNUSABLE .*\(EFBIG\)/),
      'bound 1',
      expect.stringMatching(/^JOURNAL_UNUSABLE .*\(EFBIG\)/),
      'bound 1',
    ])
    await using journal = journalAt(file)
    await journal.openExisting()
    expect(journal.told).toEqual(['opened 4'])
    expect(await readFile(file, 'utf8')).toBe(HEADER + [1, 2, 13, 1014].map((n) => formatLine(bindingOf(n))).join(''))
  })

  it('reads as whole what a process that died in a full disk left behind', async () => {
    const file = newFile()
    const child = startChild(file, ['2', '10'], 'ulimit -f 2; ')
    expect(await child.ended).toEqual(['bound 2', expect.stringContaining('EFBIG')])
    expect((await stat(file)).size).toBe(1024)
    await using journal = journalAt(file)
    await journal.openExisting()
    // Lines that are whole may stay: nothing was signed for them, and nothing is wrong with them.
    expect(journal.told).toEqual([expect.stringMatching(/^repaired/), expect.stringMatching(/^opened [2-5]$/)])
  })

  it('says what is wrong with a place where nothing can be written, and works once it can', async () => {
    const file = newFile()
    const folder = join(root, String(positions))
    await writeFile(folder, 'in the way')
    await using journal = journalAt(file)
    await expect(journal.check()).rejects.toMatchObject({
      code: 'JOURNAL_UNUSABLE',
      message: expect.stringMatching(/\((EEXIST|ENOTDIR)\): no deposit is signed until .* JOURNAL_FILE/),
    })
    await expect(journal.bind([bindingOf(1)])).rejects.toMatchObject({ code: 'JOURNAL_UNUSABLE' })
    await rm(folder)
    await journal.check()
    // A trial leaves nothing behind.
    expect((await stat(file)).size).toBe(0)
    expect(await journal.bind([bindingOf(1)])).toEqual([undefined])
  })

  it.each([
    ['a code of the system says what is wrong', 'EIO', /\(EIO\): no deposit/],
    ['another code says nothing, its message does', 'ERR_ODD', /\(words of its own\): no deposit/],
  ])('%s', async (_, code, said) => {
    await using journal = journalAt(newFile())
    await journal.check()
    vi.spyOn(await handles(), 'sync').mockRejectedValue(Object.assign(new Error('words of its own'), { code }))
    await expect(journal.bind([bindingOf(1)])).rejects.toMatchObject({
      code: 'JOURNAL_UNUSABLE',
      message: expect.stringMatching(said),
    })
  })

  it('asks for the rights on the folder where the lock beside it cannot be made', async () => {
    const file = newFile()
    await mkdir(`${file}.lock`, { recursive: true })
    await using journal = journalAt(file)
    await expect(journal.check()).rejects.toMatchObject({
      code: 'JOURNAL_UNUSABLE',
      message: expect.stringMatching(/\.lock cannot be made beside it: may this user write to the folder\?\)/),
    })
  })

  it.each([
    ['removed', (file: string) => rm(file)],
    ['moved', (file: string) => rename(file, `${file}.old`)],
    ['replaced', async (file: string) => writeFile(`${file}.new`, '').then(() => rename(`${file}.new`, file))],
    ['edited', (file: string) => appendFile(file, formatLine(bindingOf(9)))],
    ['emptied', (file: string) => writeFile(file, '')],
  ])('binds nobody new once the file was %s, and still knows who is bound', async (_, change) => {
    const file = newFile()
    await using journal = journalAt(file)
    await journal.bind([bindingOf(1)])
    await change(file)
    const changed = { code: 'JOURNAL_UNUSABLE', message: expect.stringContaining('was changed while the sidecar runs') }
    await expect(journal.bind([bindingOf(2)])).rejects.toMatchObject(changed)
    await expect(journal.check()).rejects.toMatchObject(changed)
    expect(await journal.bind([bindingOf(1), bindingOf(1, OTHER_VAULT)])).toEqual([undefined, HEADER_LINES + 1])
  })

  it.each([
    ['opened', (journal: Journal) => journal.openExisting()],
    ['tried', (journal: Journal) => journal.check()],
  ])('binds nobody to a file that was edited since it was %s, and takes nothing of it away', async (_, look) => {
    const file = newFile()
    {
      await using before = journalAt(file)
      await before.bind([bindingOf(1)])
    }
    await using journal = journalAt(file)
    await look(journal)
    await appendFile(file, formatLine(bindingOf(9)))
    const text = await readFile(file, 'utf8')
    await expect(journal.bind([bindingOf(2)])).rejects.toThrow('was changed while the sidecar runs')
    expect(await readFile(file, 'utf8')).toBe(text)
  })

  it('counts on nothing that takes the disk more than five seconds, and knows it once it is there', async () => {
    await using journal = journalAt(newFile())
    await journal.check()
    const prototype = await handles()
    const { sync } = prototype
    const slow = Promise.withResolvers<void>()
    const waits = Promise.withResolvers<void>()
    vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
      waits.resolve()
      await slow.promise
      return sync.call(this)
    })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const answered = vi.fn()
    const bound = journal.bind([bindingOf(1)]).then(answered, answered)
    await waits.promise
    await vi.advanceTimersByTimeAsync(4999)
    expect(answered).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    await bound
    expect(answered.mock.calls).toMatchObject([
      [{ code: 'JOURNAL_UNUSABLE', message: expect.stringContaining('(not done within 5000 ms): no deposit') }],
    ])
    slow.resolve()
    expect(await journal.bind([bindingOf(1, OTHER_VAULT)])).toEqual([HEADER_LINES + 1])
  })
})
