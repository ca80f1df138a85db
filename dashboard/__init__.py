"""The app: `streamlit run dashboard/Home.py`. It shows what `corrcore` computes and computes nothing itself."""
