/** The compose files as `docker compose config` reads them, the images' file as hadolint does, and what they name. */

import { copyFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RELAYER_SETTINGS } from '../../../apps/relayer/src/settings.ts'
import { SIDECAR_SETTINGS } from '../../../apps/sidecar/src/config.ts'
import { hasDeployTools, hasProgram, ROOT, run, runTool } from '../../support/deploy/tools.ts'
import { RELAYER_FLAGS, RELAYER_SETS, SIDECAR_FLAGS } from '../../support/services/process.ts'

interface Service {
  restart?: string
  stop_grace_period?: string
  logging?: { driver?: string; options?: Record<string, string> }
  security_opt?: string[]
  privileged?: boolean
  environment?: Record<string, string | null>
  ports?: { host_ip?: string; published?: string }[]
  image?: string
  volumes?: { type: string; source?: string; target: string; read_only?: boolean }[]
}
interface Project {
  services: Record<string, Service>
}

/** Every file with the services it has, all profiles included. */
const FILES = [
  [
    'docker-compose.yml',
    ['postgres', 'redis', 'relayer', 'sidecar-1', 'sidecar-2', 'sidecar-3', 'sidecar-4', 'sidecar-ssv'],
  ],
  ['deploy/compose/relayer.yml', ['grafana', 'postgres', 'prometheus', 'redis', 'relayer']],
  ['deploy/compose/sidecar.yml', ['sidecar']],
] as const

const SETTINGS: Readonly<Record<string, Readonly<Record<string, { secret?: boolean }>>>> = {
  relayer: RELAYER_SETTINGS,
  sidecar: SIDECAR_SETTINGS,
}
/** What compose itself reads of .env. */
const OF_COMPOSE = ['CHARON_DIR']
const namesOf = (settings: Readonly<Record<string, { secret?: boolean }>>): string[] => [
  ...Object.entries(settings).flatMap(([name, { secret }]) => (secret ? [name, `${name}_FILE`] : [name])),
  ...OF_COMPOSE,
]

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'compose-'))
  cpSync(`${ROOT}deploy/compose`, folder, { recursive: true })
  copyFileSync(`${ROOT}docker-compose.yml`, join(folder, 'docker-compose.yml'))
  writeFileSync(
    join(folder, '.env'),
    `${readFileSync(`${ROOT}.env.example`, 'utf8')}\nCHARON_DIR=/srv/charon/.charon\n`,
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What `docker compose config` makes of a file, in a folder with the settings of .env.example. */
function configOf(file: string): Project {
  const name = file.split('/').at(-1) ?? file
  const { status, stdout, stderr } = runTool(
    'docker-compose',
    ['-f', name, '--profile', '*', 'config', '--format', 'json'],
    { cwd: folder },
  )
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return JSON.parse(stdout) as Project
}

describe.skipIf(!hasDeployTools())('docker compose config', () => {
  describe.each(FILES)('%s', (file, names) => {
    it('is taken, with all its services', () => {
      expect(Object.keys(configOf(file).services).sort()).toEqual(names)
    })

    it('has services that survive a reboot, stop cleanly and fill no disk', () => {
      for (const [name, service] of Object.entries(configOf(file).services))
        expect([name, service]).toMatchObject([
          name,
          {
            restart: 'unless-stopped',
            stop_grace_period: '30s',
            logging: { driver: 'json-file', options: { 'max-size': '20m', 'max-file': '5' } },
          },
        ])
    })

    it('lets only this machine in', () => {
      const ports = Object.values(configOf(file).services).flatMap((service) => service.ports ?? [])
      expect(ports.filter(({ host_ip }) => host_ip !== '127.0.0.1')).toEqual([])
    })

    it('has no image without a version, but our own', () => {
      const images = Object.values(configOf(file).services).flatMap(({ image }) => image ?? [])
      expect(images.filter((image) => !/:v?\d+\.\d+/.test(image) && !/^dvt-(relayer|sidecar)$/.test(image))).toEqual([])
    })

    it('names only settings that there are, and no secret', () => {
      const { services } = configOf(file)
      for (const [service, { environment = {} }] of Object.entries(services)) {
        const settings = SETTINGS[service.split('-')[0] ?? '']
        for (const [name, value] of Object.entries(environment)) {
          if (settings !== undefined) expect(namesOf(settings)).toContain(name)
          const isSecret = settings?.[name]?.secret === true || /PASSWORD$/.test(name)
          if (isSecret)
            expect([name, value ?? '']).toEqual([name, expect.stringMatching(/^(redis:[/][/]redis:6379)?$/)])
        }
      }
    })
  })

  it('wants the folder of the charon node, and reads it only', () => {
    const { volumes = [] } = configOf('deploy/compose/sidecar.yml').services['sidecar'] ?? {}
    expect(volumes.map(({ target, source, read_only }) => [target, source, read_only ?? false])).toEqual([
      ['/charon', '/srv/charon/.charon', true],
      ['/sidecar', join(folder, 'sidecar'), false],
    ])
    writeFileSync(join(folder, 'empty.env'), '')
    const { status, stderr } = runTool(
      'docker-compose',
      ['--env-file', 'empty.env', '-f', 'sidecar.yml', 'config', '-q'],
      { cwd: folder },
    )
    expect(status).not.toBe(0)
    expect(stderr).toContain('CHARON_DIR')
  })

  it('takes keystores away where a remote signer has the keys', () => {
    const { stdout } = runTool('docker-compose', ['-f', 'sidecar.yml', 'config', '--format', 'json'], {
      cwd: folder,
      env: { ...process.env, OBOL_KEYSTORES_DIR: '' },
    })
    expect((JSON.parse(stdout) as Project).services['sidecar']?.environment?.['OBOL_KEYSTORES_DIR']).toBe('')
  })
})

describe('monitoring', () => {
  it.skipIf(!hasProgram('promtool'))('has a configuration that Prometheus takes', () => {
    const file = join(folder, 'prometheus-here.yml')
    const text = readFileSync(`${ROOT}deploy/compose/prometheus.yml`, 'utf8')
    writeFileSync(file, text.replace('/etc/prometheus/rules.yml', `${ROOT}deploy/prometheus/rules.yml`))
    const { status, stdout, stderr } = run('promtool', ['check', 'config', file])
    expect(`${stdout}${stderr}`).toMatch(/SUCCESS: 1 rule files found[\s\S]*SUCCESS: \d+ rules found/)
    expect(status).toBe(0)
  })

  it('asks the port that the relayer opens for it, and reads rules and dashboards that are there', () => {
    const compose = readFileSync(`${ROOT}deploy/compose/relayer.yml`, 'utf8')
    const port = /METRICS_PORT: (\d+)/.exec(compose)?.[1]
    expect(readFileSync(`${ROOT}deploy/compose/prometheus.yml`, 'utf8')).toContain(`targets: ['relayer:${port}']`)
    const mounted = Array.from(compose.matchAll(/^ +- (\.\.?\/\S+?):\/\S+:ro$/gm), ([, source = '']) => source)
    expect(mounted).toContain('../prometheus/rules.yml')
    expect(mounted.filter((source) => !existsSync(join(ROOT, 'deploy/compose', source)))).toEqual([])
    const [, target] = /- \.\.\/grafana:(\S+):ro/.exec(compose) ?? []
    expect(readFileSync(`${ROOT}deploy/compose/grafana-dashboards.yml`, 'utf8')).toContain(`path: ${target} `)
  })

  it('shows Grafana where Prometheus is', () => {
    expect(readFileSync(`${ROOT}deploy/compose/grafana-datasource.yml`, 'utf8')).toContain(
      'url: http://prometheus:9090\n',
    )
  })
})

describe('images', () => {
  it.skipIf(!hasDeployTools())('have a file that hadolint has nothing to say about', () => {
    const { status, stdout } = runTool('hadolint', ['Dockerfile'])
    expect(stdout).toBe('')
    expect(status).toBe(0)
  })

  it('hold a list of the packages that are in them, and of no others', () => {
    const made = [...readFileSync(`${ROOT}Dockerfile`, 'utf8').matchAll(/npm (sbom .*) > sbom\.cdx\.json$/gm)]
    const lists = made.map(([, words = '']) => {
      const { stdout } = run('npm', words.split(' '))
      const { bomFormat, components } = JSON.parse(stdout) as {
        bomFormat: string
        components: { version: string; purl: string }[]
      }
      expect(bomFormat).toBe('CycloneDX')
      return new Map(
        components.map(({ version, purl }) => [/^pkg:npm\/(.+)@/.exec(decodeURIComponent(purl))?.[1], version]),
      )
    })
    expect(lists).toHaveLength(2)
    const [relayer, sidecar] = lists
    const { dependencies } = JSON.parse(readFileSync(`${ROOT}apps/relayer/package.json`, 'utf8')) as {
      dependencies: Record<string, string>
    }
    for (const [name, version] of Object.entries(dependencies))
      expect([name, relayer?.get(name)]).toEqual([name, version])
    expect(sidecar?.has('undici')).toBe(true)
    for (const name of ['fastify', 'pg', 'bullmq']) expect([name, sidecar?.has(name)]).toEqual([name, false])
    for (const list of lists) expect([list.has('vitest'), list.has('knip')]).toEqual([false, false])
  })

  it('give the relayer what keeps its memory small, as npm and systemd do, and as it is measured', () => {
    const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { scripts: Record<string, string> }
    const texts = ['Dockerfile', 'deploy/systemd/dvt-relayer.service'].map((file) => readFileSync(ROOT + file, 'utf8'))
    const sets = Object.entries(RELAYER_SETS).map(([name, value]) => `${name}=${value}`)
    for (const text of [scripts['start'], scripts['relayer'], ...texts])
      for (const part of [...RELAYER_FLAGS, ...sets]) expect(text).toContain(part)
  })

  it('give the sidecar what it is measured with, as npm and systemd do', () => {
    const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { scripts: Record<string, string> }
    const unit = readFileSync(`${ROOT}deploy/systemd/dvt-sidecar.service`, 'utf8')
    for (const text of [scripts['sidecar'], unit])
      expect(text).toContain(`node ${SIDECAR_FLAGS.join(' ')} apps/sidecar/`)
    const [, image = ''] = /^FROM \S+ AS sidecar$([\s\S]*)/m.exec(readFileSync(`${ROOT}Dockerfile`, 'utf8')) ?? []
    const command = JSON.stringify(['node', ...SIDECAR_FLAGS, 'apps/sidecar/dist/main.js']).replaceAll(',', ', ')
    expect(image).toContain(`CMD ${command}`)
  })

  it('run as a user with a number', () => {
    const users = Array.from(readFileSync(`${ROOT}Dockerfile`, 'utf8').matchAll(/^USER (.*)$/gm), ([, user]) => user)
    expect(users).toEqual(['1000:1000', '1000:1000'])
  })
})
