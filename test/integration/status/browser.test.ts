/** The status page in a real browser, of a real relayer with real sidecars: what people see, and what they do not. */

import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPage, skipWithoutChromium, startBrowser } from '../../support/browser/browser.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { nextIndex } from '../../support/operator/operator.ts'
import { ETH32, registerKeys } from '../../support/stages/registrations.ts'
import { openStatusStage, type StatusStage } from '../../support/stages/status.ts'
import { startVaultWorld, type VaultWorld } from '../../support/world/vault-world.ts'
import { eventually } from '../../support/world/world.ts'

const PICTURES = fileURLToPath(new URL('../../../docs/pictures/', import.meta.url))
/** Finds texts that are hard to read; runs in the page. */
const CONTRASTS = readFileSync(new URL('../../support/browser/contrasts.js', import.meta.url), 'utf8')
const isWriting = process.env['PICTURES'] === 'write'

const cell = (page: Page, shareIndex: number, level = '') =>
  page.locator(`#clusters .cluster li.cell${level}[data-key="${shareIndex}"]`)
/** Resolves when the page has renewed itself so many times from now on. */
async function renewed(page: Page, times = 2): Promise<void> {
  const count = async () => Number((await page.locator('body').getAttribute('data-renewed')) ?? 0)
  const wanted = (await count()) + times
  await eventually('a renewed page', async () => ((await count()) >= wanted ? true : undefined))
}
/** By how much the page is wider than the screen. What runs in the page is text: the compiler knows no browser. */
const overflow = (page: Page) =>
  page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth')

describe.skipIf(skipWithoutAnvil || skipWithoutChromium)('the status page', () => {
  const resources = new AsyncDisposableStack()
  let world: VaultWorld
  let stage: StatusStage
  let browser: Browser
  const open = (path: string, token: string | undefined = stage.tokens.admin, options = {}) =>
    openPage(browser, stage.url, token, options).then(async (watched) => {
      await watched.page.goto(`${stage.url}${path}`)
      return watched
    })

  beforeAll(async () => {
    world = resources.use(await startVaultWorld({ oracles: 3, threshold: 2 }))
    ;[stage, { browser }] = [resources.use(await openStatusStage(world)), resources.use(await startBrowser())]
  })
  afterAll(() => resources.disposeAsync())

  it('shows a node that is killed red, with what to do, and green again when it is back; and what waits for it', async () => {
    const nodes = await Promise.all([1, 2, 3].map((index) => stage.startNode(index)))
    await using watched = await open('/')
    const { page } = watched
    expect(page.url()).toBe(`${stage.url}/status`)
    for (const index of [1, 2, 3]) await cell(page, index, '.good').waitFor()
    await cell(page, 4, '.bad').waitFor()
    expect(await cell(page, 4).innerText()).toContain('never seen')
    expect(await cell(page, 1).innerText()).toMatch(
      /✓ Node 1 there[\s\S]*since[\s\S]*runs[\s\S]*dvt-relayer-sidecar 0\.2\.0/,
    )
    expect(await cell(page, 1).innerText()).toMatch(/came by\s+its token/)
    await page.locator('.headline.bad', { hasText: 'Node 4 of cluster "Blue cluster" was never seen' }).waitFor()

    const killedAt = performance.now()
    await nodes[2]?.end('SIGKILL')
    await cell(page, 3, '.bad').waitFor()
    const seconds = (performance.now() - killedAt) / 1000
    expect(await cell(page, 3).innerText()).toContain('✕ Node 3 away')
    // Some 20 s where the machine has time.
    console.log(`a killed node is red after ${seconds.toFixed(1)} s`)
    await page.locator('.headline', { hasText: 'cannot sign: 2 of the 3 nodes it needs are there' }).waitFor()

    const request = {
      vault: stage.vault.address,
      startIndex: nextIndex(world.beacon),
      amounts: [ETH32, ETH32],
      type: '0x01',
    } as const
    const headers = { authorization: `Bearer ${stage.tokens.owner}` }
    const keys = await eventually('the keys', async () => {
      const found = await registerKeys(stage.url, request, headers).catch(() => [])
      return found.length > 0 ? found : undefined
    })
    for (const key of keys) {
      const row = page.locator(`#validators .row[data-key="${key}"]`)
      await row.locator('.chip.good[data-key="1"]').waitFor()
      await row.locator('.chip.bad[data-key="3"]').waitFor()
      await row.locator('.verdict.bad', { hasText: 'NODE_' }).waitFor()
    }
    await cell(page, 3)
      .filter({ hasText: /owes\s*4 signatures/ })
      .waitFor()
    await picture(page, stage, browser)

    // What is red leads to what to do, also where there is no internet.
    await cell(page, 3).locator('a').first().click()
    expect(page.url()).toBe(`${stage.url}/status/help#a-node-is-missing`)
    await page.locator('h2#a-node-is-missing', { hasText: 'A node is missing' }).waitFor()
    await page.goBack()

    await stage.startNode(3)
    await cell(page, 3, '.good').waitFor()
    for (const key of keys) await page.locator(`#validators .row[data-key="${key}"]`).waitFor({ state: 'detached' })
    await page.locator('#vaults .card').waitFor()
    await page.locator('#manager', { hasText: '32 ETH moved a day' }).waitFor()
    watched.expectClean()
  })

  it('is given to nobody without a token that may see it', async () => {
    for (const token of [undefined, 'wrong', stage.tokens.oracle]) {
      const { page } = await openPage(browser, stage.url, token)
      const answer = await page.goto(`${stage.url}/status`).catch(() => null)
      if (answer !== null) expect([401, 403]).toContain(answer.status())
      // A browser goes on to a page of its own where it is refused, and has nothing to show on the way.
      const shown = await eventually('what is shown', () => page.content().catch(() => undefined))
      expect(shown).not.toContain('Blue cluster')
      await page.context().close()
    }
  })

  it('shows an operator its vaults and a node operator its node, and nothing of others', async () => {
    await using owner = await open('/status', stage.tokens.owner)
    await cell(owner.page, 4).waitFor()
    await using stranger = await open('/status', stage.tokens.stranger)
    expect(await stranger.page.locator('#clusters').innerText()).toContain('No cluster is known that you may see.')
    expect((await stranger.page.content()).toLowerCase()).not.toContain(stage.vault.address.toLowerCase())
    await using node = await open('/status', stage.tokens['node-2'])
    expect(await node.page.locator('#clusters li.cell').count()).toBe(1)
    expect(await node.page.locator('#clusters li.cell').getAttribute('data-key')).toBe('2')
    expect(await node.page.locator('#manager').count()).toBe(0)
    for (const watched of [owner, stranger, node]) watched.expectClean()
  })

  it('takes names for text, however they are meant, and stays as narrow as the screen', async () => {
    const names = [
      '<script>document.title="hacked"</script>',
      '"><img src=x onerror="document.title=\'hacked\'">',
      '\u202egnorw \u200b</h3></div>',
      'x'.repeat(300),
      "' onmouseover='document.title=1",
    ]
    await using own = await openStatusStage(world)
    for (const [position, name] of names.entries())
      await own.query(
        `with c as (insert into clusters (name, threshold) values ($1, 3) returning id),
              v as (insert into validators (public_key, cluster_id, place) select $2, id, 0 from c returning id)
         insert into key_shares (validator_id, share_index, public_key_share, source) select id, x, $2, 'lock' from v, generate_series(1, 4) x`,
        [name, Buffer.alloc(48, 0xe0 + position)],
      )
    await own.query(
      `insert into nodes_seen (token_name, share_index, seen_at, listed_at, refused_at, refusal_code, software, version)
       values ('hostile', 4, now(), now() - interval '9 minutes', now(), '<b id="x">', '<img src=x>', '"')`,
    )
    for (const width of [1100, 390]) {
      await using watched = await openPage(browser, own.url, own.tokens.admin, { viewport: { width, height: 800 } })
      const { page } = watched
      await page.goto(`${own.url}/status`)
      await page.locator('#clusters h3', { hasText: 'xxxx' }).waitFor()
      await page.locator('#clusters', { hasText: '<img src=x>' }).waitFor()
      expect(await overflow(page)).toBe(0)
      const titles = await page.locator('#clusters h3').allInnerTexts()
      for (const name of names.filter((one) => !one.includes('\u202e'))) expect(titles).toContain(name)
      expect(titles).toContain('\\u{202e}gnorw \\u{200b}</h3></div>')
      await renewed(page)
      expect(await page.title()).not.toContain('hacked')
      expect(await page.locator('script').count()).toBe(1)
      expect(await page.locator('main img, main script, #x').count()).toBe(0)
      watched.expectClean()
    }
  })

  it('is worked by keyboard, and keeps focus, scroll and what is typed while it renews itself', async () => {
    const [key = ''] = stage.keys
    await using watched = await open('/status', undefined, { viewport: { width: 600, height: 300 } })
    const { page } = watched
    await page.keyboard.press('Tab')
    expect(await page.evaluate<string>('document.activeElement.className')).toBe('skip')
    const focused = () => page.evaluate<string>('document.activeElement.id')
    for (let presses = 0; (await focused()) !== 'key'; presses++) {
      expect(presses).toBeLessThan(200)
      await page.keyboard.press('Tab')
    }
    await page.keyboard.type('0x')
    await page.evaluate('window.scrollTo(0, 400)')
    const scrolled = await page.evaluate<number>('window.scrollY')
    await renewed(page)
    expect(await focused()).toBe('key')
    expect(await page.locator('#key').inputValue()).toBe('0x')
    expect(await page.evaluate<number>('window.scrollY')).toBe(scrolled)
    await page.keyboard.type(key.slice(2, 14))
    await page.keyboard.press('Enter')
    await page.locator(`#validators .row[data-key="${key}"]`).waitFor()
    expect(await page.locator('#validators .row').count()).toBe(1)
    await renewed(page)
    expect(await page.locator('#key').inputValue()).toBe(`0x${key.slice(2, 14)}`)
    expect(await page.locator('#validators .row').count()).toBe(1)
    watched.expectClean()
  })

  it('says what its colours say by signs and words, and can be read in dark and light', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      await using watched = await open('/status', undefined, { colorScheme, viewport: { width: 390, height: 800 } })
      const { page } = watched
      await cell(page, 4).waitFor()
      expect(await overflow(page)).toBe(0)
      for (const one of await page.locator('.cell').all()) expect(await one.innerText()).toMatch(/^[✓✕…–]\s*\S+/)
      expect(await page.evaluate<string[]>(CONTRASTS)).toEqual([])
      await page.goto(`${stage.url}/status/help`)
      expect(await overflow(page)).toBe(0)
      watched.expectClean()
    }
  })

  it('is whole without a script', async () => {
    const [key = ''] = stage.keys
    await using watched = await open('/status', undefined, { javaScriptEnabled: false })
    const { page } = watched
    await cell(page, 4).waitFor()
    expect(await cell(page, 1).innerText()).toMatch(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/)
    await page.locator('#key').fill(key)
    await page.locator('#validators button').click()
    await page.locator(`#validators .row[data-key="${key}"]`).waitFor()
  })

  it('says when the relayer is away, and goes on when it is back', async () => {
    await using watched = await open('/status')
    const { page } = watched
    await page.route('**/status', (route) => route.abort())
    await page.locator('#live', { hasText: 'not renewed for' }).waitFor()
    await page.unroute('**/status')
    await page.locator('body:not(.stale)').waitFor()
    await renewed(page)
    expect(await page.locator('#live').innerText()).toBe('')
  })

  it('has its pictures', () => {
    for (const name of ['status.png', 'status-small.png']) expect(existsSync(`${PICTURES}${name}`), name).toBe(true)
  })
})

/** Takes the pictures of README and docs, where they are asked for. */
async function picture(page: Page, { url, tokens }: StatusStage, browser: Browser): Promise<void> {
  if (!isWriting) return
  mkdirSync(PICTURES, { recursive: true })
  await page.screenshot({ path: `${PICTURES}status.png`, clip: { x: 0, y: 0, width: 1100, height: 900 } })
  const options = { colorScheme: 'dark', viewport: { width: 390, height: 844 } } as const
  await using small = await openPage(browser, url, tokens.admin, options)
  await small.page.goto(`${url}/status`)
  await renewed(small.page, 1)
  await small.page.screenshot({ path: `${PICTURES}status-small.png` })
}
