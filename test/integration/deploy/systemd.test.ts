/** The units as systemd reads them. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RELAYER_SETTINGS } from '../../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../../apps/sidecar/src/config.ts'
import { hasProgram, ROOT, run } from '../../support/deploy/tools.ts'
import { RELAYER_SETS } from '../../support/services/process.ts'

const UNITS = [
  ['dvt-relayer.service', RELAYER_SETTINGS],
  ['dvt-sidecar.service', SIDECAR_SETTINGS],
] as const
/** What the units' Node and its C library read themselves. */
const OF_NODE = ['NODE_COMPILE_CACHE', ...Object.keys(RELAYER_SETS)]
/** Of `systemd-analyze security`, from 0 to 10 and here in tenths: a line taken out costs at least 0.1. */
const EXPOSURE = 15

const read = (unit: string): string => readFileSync(`${ROOT}deploy/systemd/${unit}`, 'utf8')

/** Runs systemd-analyze over the text of a unit, on a machine whose programs stand where this test has them. */
function analyze(args: readonly string[], unit: string, text: string) {
  const folder = mkdtempSync(join(tmpdir(), 'units-'))
  try {
    const file = join(folder, unit)
    const here = text.replace('/opt/dvt-relayer/node_modules/.bin/node', process.execPath)
    writeFileSync(file, here.replaceAll('/opt/dvt-relayer', ROOT))
    const { status, stdout, stderr } = run('systemd-analyze', [...args, file])
    return { status, text: `${stdout}${stderr}` }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe.each(UNITS)('%s', (unit, settings) => {
  it('names only settings that there are', () => {
    const names = Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name, `${name}_FILE`] : [name]))
    const assignments = Array.from(read(unit).matchAll(/^Environment=(.*)$/gm), ([, line = '']) =>
      line.split(' '),
    ).flat()
    const named = assignments.map((assignment) => assignment.split('=')[0] ?? '')
    expect(named.length).toBeGreaterThan(2)
    expect(named.filter((name) => !names.includes(name) && !OF_NODE.includes(name))).toEqual([])
  })

  it('has no restart after exit code 1, and one after everything else', () => {
    expect(read(unit)).toMatch(/^Restart=always$/m)
    expect(read(unit)).toMatch(/^RestartPreventExitStatus=1$/m)
  })

  it('starts what there is', () => {
    const [, program = '', args = ''] = /^ExecStart=(\S+) (.*)$/m.exec(read(unit)) ?? []
    expect(program).toBe('/opt/dvt-relayer/node_modules/.bin/node')
    expect(readFileSync(`${ROOT}${args.split(' ').at(-1) ?? ''}`, 'utf8')).not.toBe('')
  })

  describe.skipIf(!hasProgram('systemd-analyze'))('systemd', () => {
    it('takes it without a word', () => {
      expect(analyze(['verify'], unit, read(unit))).toEqual({ status: 0, text: '' })
    })

    it('would have a word where something is wrong', () => {
      expect(analyze(['verify'], unit, read(unit).replace('UMask=', 'Umsk=')).text).toContain('Umsk')
    })

    it('finds it hardened, and each line of it needed', () => {
      const secure = ['security', '--offline=true', `--threshold=${EXPOSURE}`]
      expect(analyze(secure, unit, read(unit)).status).toBe(0)
      expect(analyze(secure, unit, read(unit).replace('ProtectSystem=strict\n', '')).status).not.toBe(0)
    })
  })
})
