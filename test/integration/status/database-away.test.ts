/** The status page while the database is away: it says so, goes on by itself, and what was there comes back. */

import { routes } from '@dvt-relayer/api/routes.ts'
import type { Status } from '@dvt-relayer/api/schemas.ts'
import { expect, it } from 'vitest'
import { openPage, skipWithoutChromium, startBrowser } from '../../support/browser/browser.ts'
import { skipWithoutAnvil } from '../../support/chain/anvil.ts'
import { openStatusStage } from '../../support/stages/status.ts'
import { startVaultWorld } from '../../support/world/vault-world.ts'
import { ask, eventually } from '../../support/world/world.ts'

it.skipIf(skipWithoutAnvil || skipWithoutChromium)('the page says that the database is away', async () => {
  await using world = await startVaultWorld({ oracles: 3, threshold: 2 })
  await using started = await startBrowser()
  await using stage = await openStatusStage(world)
  const headers = { authorization: `Bearer ${stage.tokens.admin}` }
  await eventually('the first count', async () => {
    const { clusters = [] } = (await ask(stage.url, routes.getStatus.path, { headers })).json as Status
    return clusters.length > 0 ? true : undefined
  })
  // What a browser says of an answer of 503 is no fault of the page.
  await using watched = await openPage(started.browser, stage.url, stage.tokens.admin)
  const { page } = watched
  await page.goto(`${stage.url}/status`)
  await page.locator('#clusters h3', { hasText: 'Blue cluster' }).waitFor()
  stage.proxy.behave({ sqlstate: '57P03', message: 'the database system is shutting down' })
  await page.locator('.headline.bad', { hasText: 'The database cannot be read' }).waitFor()
  await page.locator('#services .bad[data-key="database"]').waitFor()
  stage.proxy.behave('pass')
  await page.locator('#clusters h3', { hasText: 'Blue cluster' }).waitFor()
  expect(page.url()).toBe(`${stage.url}/status`)
})
