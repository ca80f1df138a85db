// Puts a query into the address of a page, in place: no entry of the history, and no run of the page.

export default function ({ data }) {
  const url = new URL(window.location.href)
  if (url.pathname.split("/").at(-1) !== data.page) return
  url.search = data.query
  if (url.href !== window.location.href) window.history.replaceState(window.history.state, "", url)
}
