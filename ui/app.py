"""The page: `vidsift ui` has Streamlit run this file. Five views over one library."""

from __future__ import annotations

import streamlit as st

from ui import coverage, elements, login

_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" width="118" height="32" viewBox="0 0 118 32">
<rect x="1" y="7" width="5" height="18" rx="2" fill="#3d4754"/>
<rect x="8" y="3" width="5" height="26" rx="2" fill="#4fb3a5"/>
<rect x="15" y="10" width="5" height="12" rx="2" fill="#3d4754"/>
<text x="30" y="22.5" font-family="sans-serif" font-size="20" font-weight="600"
 fill="#e4e7eb">vidsift</text></svg>"""

# A picture of our own: an icon by name would be fetched from the web, and so might an emoji.
_FAVICON = """<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 21 32">
<rect x="1" y="7" width="5" height="18" rx="2" fill="#7a8796"/>
<rect x="8" y="3" width="5" height="26" rx="2" fill="#4fb3a5"/>
<rect x="15" y="10" width="5" height="12" rx="2" fill="#7a8796"/></svg>"""


def main() -> None:
    """Lay out the page and run the view that is open."""
    st.set_page_config(page_title="vidsift", page_icon=_FAVICON, layout="wide")
    elements.dress()
    st.logo(_LOGO, size="large")
    if allowed := login.allowed_people():
        _require_login(allowed)
    view = st.navigation(
        [
            st.Page(
                elements.SUMMARIES_PAGE,
                title="Summaries",
                icon=":material/grid_view:",
                url_path="summaries",
                default=True,
            ),
            st.Page(
                elements.SEARCH_PAGE, title="Search", icon=":material/search:", url_path="search"
            ),
            st.Page(elements.VIDEO_PAGE, title="Video", icon=":material/movie:", url_path="video"),
            st.Page(
                elements.ALERTS_PAGE,
                title="Alerts",
                icon=":material/notifications:",
                url_path="alerts",
            ),
            st.Page(
                elements.LIBRARY_PAGE,
                title="Library",
                icon=":material/video_library:",
                url_path="library",
            ),
        ],
        position="top",
    )
    coverage.show()
    with elements.errors_shown():
        view.run()


def _require_login(allowed: list[str]) -> None:
    """Show nothing but the way to log in to whoever has not; `*` lets in all who can."""
    if not st.user.is_logged_in:
        st.button("Log in", on_click=st.login, type="primary")
        st.stop()
    if not login.may_open(st.user, allowed):
        elements.line(f"{st.user.get('email') or 'This account'} may not open this page.", "text")
        st.button("Log out", on_click=st.logout)
        st.stop()


if __name__ == "__main__":
    main()
