/** The commands of the relayer as one asks for them: help with an example of each, the version, and what shells complete. */

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { VERSION } from '@dvt-relayer/common/version.ts'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { runCommand } from '../../../apps/relayer/src/cli/commands.ts'
import { COMMANDS, type CommandName } from '../../../apps/relayer/src/cli/usage.ts'
import { COMMANDS as SIDECAR_COMMANDS } from '../../../apps/sidecar/src/doctor/usage.ts'
import { startProcess } from '../../support/services/process.ts'

const NAMES = Object.keys(COMMANDS) as CommandName[]
const SHELLS = ['bash', 'zsh', 'fish'] as const
const hasShell = (shell: string) => spawnSync(shell, ['--version']).status === 0

/** What a command prints, and its exit code. */
async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' }
  const keep = (where: keyof typeof said, text: string) => {
    said[where] += text
  }
  const spies = [
    vi.spyOn(console, 'log').mockImplementation((text) => keep('out', `${text}\n`)),
    vi.spyOn(console, 'error').mockImplementation((text) => keep('err', `${text}\n`)),
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      said.out += String(text)
      return true
    }),
  ]
  try {
    return { code: await runCommand(args, {}, () => {}), ...said }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}

describe('help', () => {
  it('names every command, and says what to do where there is none of that name', async () => {
    const { code, out } = await run('--help')
    expect(code).toBe(0)
    for (const name of NAMES) expect(out).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
    expect(await run('nonsense')).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no command nonsense'),
    })
    expect(await run('toString')).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no command toString'),
    })
  })

  it.each(NAMES)('of %s has each option and an example, which its own options allow', async (name) => {
    const { code, out } = await run(name, '--help')
    const { options, example } = COMMANDS[name]
    expect(code).toBe(0)
    for (const option of Object.keys(options)) expect(out).toMatch(new RegExp(`^  --${option}\\b`, 'm'))
    expect(out.trim().split('\n').at(-1)).toBe(`example: ${example}`)
    const [, given = ''] = new RegExp(`relayer -- ${name}(.*?)\\)?$`).exec(example) ?? []
    const args = given.split(' ').filter((word) => word !== '')
    expect(() => parseArgs({ args, options, allowPositionals: 'argument' in COMMANDS[name] })).not.toThrow()
  })

  it('is that of a process, as the version is', async () => {
    await using help = startProcess('relayer', {}, ['doctor', '--help'])
    await using version = startProcess('relayer', {}, ['--version'])
    expect([await help.ended, await version.ended]).toEqual([0, 0])
    expect(help.output()).toContain('example: npm run relayer -- doctor')
    expect(version.output()).toBe(`${VERSION}\n`)
  })
})

describe('completion', () => {
  let dir = ''
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'dvt-completion-'))
    for (const shell of SHELLS) writeFileSync(join(dir, shell), (await run('completion', shell)).out)
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  /** What bash offers for a line whose last word is being typed, as readline asks it. */
  function bash(line: readonly string[], before = ''): string[] {
    const script = `${before}
source ${join(dir, 'bash')}
[[ $(complete -p npm) == *' -F __dvt_relayer npm' ]] || exit 9
COMP_WORDS=(${line.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${line.length - 1}
__dvt_relayer npm '${line.at(-1)}' '${line.at(-2)}'
printf '%s\\n' "\${COMPREPLY[@]}"`
    const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return stdout.split('\n').filter((word) => word !== '')
  }
  const relayer = (...words: string[]) => ['npm', 'run', '-s', 'relayer', '--', ...words]

  it.skipIf(!hasShell('bash'))('in bash completes commands, options and their values', () => {
    expect(bash(relayer(''))).toEqual([...NAMES, '--help', '--version'])
    expect(bash(['npm', 'run', 'relayer', '--', 'do'])).toEqual(['doctor'])
    for (const name of NAMES)
      expect(bash(relayer(name, '--'))).toEqual([
        ...Object.keys(COMMANDS[name].options).map((key) => `--${key}`),
        '--help',
      ])
    expect(bash(relayer('token', '--name', 'x', '--role', 's'))).toEqual(['sidecar'])
    expect(bash(relayer('completion', ''))).toEqual([...SHELLS, '--help'])
  })

  it.skipIf(!hasShell('bash'))(
    'in bash leaves all else to what was there before, also when it is sourced again',
    () => {
      const before = `old() { COMPREPLY=(old "$@"); }; complete -F old npm; source ${join(dir, 'bash')}`
      expect(bash(['npm', 'ru'], before)).toEqual(['old', 'npm', 'ru', 'npm'])
      expect(bash(['npm', 'run', 'sidecar', '--', 'do'], before)).toEqual(['old', 'npm', 'do', '--'])
      expect(bash(relayer('rot'), before)).toEqual(['rotate'])
      expect(bash(['npm', 'ru'])).toEqual([])
    },
  )

  it.each(SHELLS)('for %s is what that shell can read, where the machine has it', (shell) => {
    if (!hasShell(shell)) return
    expect(spawnSync(shell, ['-n', join(dir, shell)], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
  })

  it.skipIf(!hasShell('fish'))('in fish completes commands, options and their values', () => {
    const ask = (line: string) => {
      const script = `source ${join(dir, 'fish')}; complete -C '${line}'`
      return spawnSync('fish', ['--no-config', '-c', script], { encoding: 'utf8' })
        .stdout.split('\n')
        .flatMap((offer) => offer.split('\t')[0] || [])
    }
    expect(ask('npm run relayer -- do')).toEqual(['doctor'])
    expect(ask('npm run relayer -- rotate --').sort()).toEqual(['--dry-run', '--help', '--send', '--vault'])
    expect(ask('npm run relayer -- token --role s')).toEqual(['sidecar'])
    expect(ask('npm run sidecar -- do')).not.toContain('doctor')
  })

  it('names its shells', async () => {
    expect(await run('completion', 'tcsh')).toMatchObject({
      code: 1,
      err: expect.stringContaining('name the shell: bash, zsh, fish'),
    })
  })
})

describe('the sidecar', () => {
  const print = async (...args: string[]) => {
    await using asked = startProcess('sidecar', {}, args)
    return { code: await asked.ended, out: asked.output() }
  }

  it('has help of each command with an example, and a version', async () => {
    const { code, out } = await print('--help')
    expect(code).toBe(0)
    for (const name of Object.keys(SIDECAR_COMMANDS)) expect(out).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
    const doctor = await print('doctor', '--help')
    expect(doctor).toMatchObject({ code: 0, out: expect.stringContaining('example: npm run sidecar -- doctor') })
    for (const option of ['json', 'quick']) expect(doctor.out).toMatch(new RegExp(`^  --${option}\\b`, 'm'))
    expect(await print('--version')).toEqual({ code: 0, out: `${VERSION}\n` })
    expect(await print('nonsense')).toMatchObject({ code: 1, out: expect.stringContaining('no command nonsense') })
  })

  it.skipIf(!hasShell('bash'))(
    'is completed in bash beside the relayer, in whichever order they are sourced',
    async () => {
      const dir = mkdtempSync(join(tmpdir(), 'dvt-completions-'))
      onTestFinished(() => rmSync(dir, { recursive: true }))
      writeFileSync(join(dir, 'sidecar'), (await print('completion', 'bash')).out)
      writeFileSync(join(dir, 'relayer'), (await run('completion', 'bash')).out)
      const offered = (order: readonly string[], line: string) => {
        const words = line.split(' ')
        const script = `old() { COMPREPLY=(old); }; complete -F old npm
${order.map((name) => `source ${join(dir, name)}`).join('\n')}
function=$(complete -p npm | sed -n 's/.*-F \\([^ ]*\\) npm$/\\1/p')
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
$function npm '${words.at(-1)}' '${words.at(-2)}'
printf '%s\\n' "\${COMPREPLY[@]}"`
        return spawnSync('bash', ['--norc', '-c', script], { encoding: 'utf8' }).stdout.trim().split('\n')
      }
      for (const order of [
        ['relayer', 'sidecar'],
        ['sidecar', 'relayer', 'sidecar', 'relayer'],
      ]) {
        expect(offered(order, 'npm run sidecar -- do')).toEqual(['doctor'])
        expect(offered(order, 'npm run sidecar -- doctor --')).toEqual(['--json', '--quick', '--help'])
        expect(offered(order, 'npm run relayer -- rot')).toEqual(['rotate'])
        expect(offered(order, 'npm ru')).toEqual(['old'])
      }
    },
  )
})
