// A picture in the clipboard goes into the page's field for a photo, as if it had been dropped there. Where there are
// several, into the one that has the focus, or else the last, which was opened last.

const FIELDS = "[class*=st-key-photo-field]"

export default function () {
  document.removeEventListener("paste", paste) // once, however many fields there are
  document.addEventListener("paste", paste)
}

function paste(event) {
  if (event.target.closest?.("input:not([type=file]), textarea, [contenteditable]")) return // of what is written
  const [picture] = [...event.clipboardData.files].filter(file => file.type.startsWith("image/"))
  const fields = [...document.querySelectorAll(FIELDS)]
  const field = fields.find(each => each.contains(document.activeElement)) ?? fields.at(-1)
  const input = field?.querySelector("input[type=file]")
  if (!picture || !input) return
  const held = new DataTransfer()
  held.items.add(picture)
  input.files = held.files
  input.dispatchEvent(new Event("change", { bubbles: true }))
  event.preventDefault()
}
